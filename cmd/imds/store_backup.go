package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"openimds/internal/store/boltstore"
)

func newStoreBackup() *cobra.Command {
	var tokenFile string
	var force bool
	c := &cobra.Command{
		Use:   "backup FROM FILE",
		Short: "back up a store, also one that is in use",
		Long: `backup writes a store, as it is at one revision, to FILE, and checks what it has
written before FILE gets its name. FROM is the control address of a running imds
serve, http://127.0.0.1:8180, whose admin token is in --token-file; or a store
that is not in use, bolt:PATH. Neither reads nor changes wait for a backup.`,
		Args: arguments("FROM", "FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			fill, err := backupOf(c.Context(), args[0], tokenFile)
			if err != nil {
				return err
			}
			var found string
			err = writeNew(c.Context(), args[1], force, fill, func(ctx context.Context, temp string) error {
				found, err = checkBackup(ctx, temp)
				return err
			})
			if err != nil {
				return fmt.Errorf("back up %s: %w", args[0], err)
			}
			fmt.Fprintf(c.OutOrStdout(), "wrote %s: %s\n", args[1], found)
			return nil
		},
	}
	c.Flags().StringVar(&tokenFile, "token-file", "", "file with the admin token of a running imds serve (default $"+tokenFileEnv+")")
	c.Flags().BoolVar(&force, "force", false, "replace a file that is there")
	return c
}

// backupOf returns what writes the backup.
func backupOf(ctx context.Context, from, tokenFile string) (func(io.Writer) error, error) {
	if strings.HasPrefix(from, "http://") || strings.HasPrefix(from, "https://") {
		server, err := (&clientOptions{server: from, tokenFile: tokenFile}).open()
		if err != nil {
			return nil, err
		}
		return func(w io.Writer) error { return fetchBackup(ctx, server, w) }, nil
	}
	if _, err := boltPath(from); err != nil {
		return nil, usageError{fmt.Errorf("%q is neither a store, bolt:PATH, nor the control address of a running imds serve, http://127.0.0.1:8180", from)}
	}
	return func(w io.Writer) (err error) {
		s, err := openToRead(from)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		_, err = s.Backup(ctx, w)
		return err
	}, nil
}

// fetchBackup has a running service write the backup.
func fetchBackup(ctx context.Context, server *client, w io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.base+"/v1/store/backup", nil)
	if err != nil {
		return usageError{err}
	}
	if server.token != "" {
		req.Header.Set("Authorization", "Bearer "+server.token)
	}
	// The environment may name a proxy, which has no business with this; and a
	// large store takes its time.
	res, err := (&http.Client{Transport: &http.Transport{}}).Do(req)
	if err != nil {
		return fmt.Errorf("%w (does imds serve run there?)", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		var problem struct{ Message string }
		text, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10))
		if json.Unmarshal(text, &problem) != nil || problem.Message == "" {
			problem.Message = "it is no imds serve"
		}
		return fmt.Errorf("%s: %s", res.Status, problem.Message)
	}
	if _, err := io.Copy(w, res.Body); err != nil {
		return fmt.Errorf("the backup was cut off: %w", err)
	}
	return nil
}

// checkBackup reads a backup whole and says what it has.
func checkBackup(ctx context.Context, path string) (found string, err error) {
	s, err := boltstore.Open(boltstore.Config{Path: path, ReadOnly: true})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.Check(ctx); err != nil {
		return "", err
	}
	revision, err := s.Revision(ctx)
	return fmt.Sprintf("revision %d, checked", revision), err
}

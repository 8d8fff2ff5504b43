package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"openimds/internal/fault"
	"openimds/internal/seal"
	"openimds/internal/state"
	"openimds/internal/store"
	"openimds/internal/store/boltstore"
)

func newStore() *cobra.Command {
	c := &cobra.Command{
		Use:   "store",
		Short: "keep the store: key, backup, restore, copy, check",
		Long: `store is for who keeps the store of imds serve. A store is named by a URL:
bolt:PATH is the file at PATH, bolt:/var/lib/imds/imds.db for one. While imds
serve runs, it holds the file: back it up through its control address. See
docs/operate/serve.md.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newStoreKey(), newStoreBackup(), newStoreRestore(), newStoreCopy(), newStoreCheck())
	return c
}

// arguments wants exactly those that are named.
func arguments(names ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) == len(names) {
			return nil
		}
		return usageError{fmt.Errorf("%s: found %d arguments, expected %s (see %s --help)", c.CommandPath(), len(args), strings.Join(names, " "), c.CommandPath())}
	}
}

// boltPath returns the file that a store's URL names.
func boltPath(url string) (string, error) {
	path, ok := strings.CutPrefix(url, "bolt:")
	if !ok || path == "" {
		return "", usageError{fmt.Errorf("%q is no store: give bolt:PATH, such as bolt:/var/lib/imds/imds.db", url)}
	}
	return path, nil
}

// openToRead opens a store that must exist.
func openToRead(url string) (*boltstore.Store, error) {
	path, err := boltPath(url)
	if err != nil {
		return nil, err
	}
	s, err := boltstore.Open(boltstore.Config{Path: path, ReadOnly: true})
	if fault.KindOf(err) == fault.Unavailable && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("%w (while imds serve runs: imds store backup http://CONTROL-ADDRESS FILE)", err)
	}
	return s, err
}

func newStoreKey() *cobra.Command {
	return &cobra.Command{
		Use:   "key FILE",
		Short: "make the key that seals secrets in a store",
		Long: `key makes a new random key and writes it to FILE, readable by its owner alone.
Keep a copy elsewhere than the backups of the store: without the key, access
keys and credentials in the store are lost; with both, nothing is secret.`,
		Args: arguments("FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			k, err := seal.Generate(args[0])
			if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "made %s (%v)\n", args[0], k)
			return nil
		},
	}
}

func newStoreCheck() *cobra.Command {
	return &cobra.Command{
		Use:   "check STORE",
		Short: "read a store whole, and say what is damaged",
		Long: `check reads every page, entry and revision of a store that is not in use, which
a backup is too. It ends with exit code 1 and a line for each thing that is
damaged, and otherwise says how many records are sealed under which key.`,
		Args: arguments("STORE"),
		RunE: func(c *cobra.Command, args []string) (err error) {
			s, err := openToRead(args[0])
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.Close()) }()
			if err := s.Check(c.Context()); err != nil {
				return err
			}
			all, err := s.List(c.Context(), "", store.ListOptions{})
			if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "ok: %d entries at revision %d\n", len(all.Entries), all.Revision)
			sealed, err := state.Sealed(c.Context(), s)
			if err != nil {
				return err
			}
			for _, id := range slices.Sorted(maps.Keys(sealed)) {
				fmt.Fprintf(c.OutOrStdout(), "%d sealed under seal key %s\n", sealed[id], id)
			}
			return nil
		},
	}
}

func newStoreCopy() *cobra.Command {
	return &cobra.Command{
		Use:   "copy FROM TO",
		Short: "copy a store into another, which is empty",
		Long: `copy copies every entry of the store FROM, which is not in use, into the store
TO, which is made if there is none, and must be empty otherwise. Revisions and
history are not copied.`,
		Args: arguments("FROM", "TO"),
		RunE: func(c *cobra.Command, args []string) (err error) {
			target, err := boltPath(args[1])
			if err != nil {
				return err
			}
			from, err := openToRead(args[0])
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, from.Close()) }()
			to, err := boltstore.Open(boltstore.Config{Path: target})
			if err != nil {
				return err
			}
			n, err := store.Copy(c.Context(), from, to)
			err = errors.Join(err, to.Close())
			if n > 0 && err != nil {
				return fmt.Errorf("%w: what is in %s is a part, and of no use", err, args[1])
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "copied %d entries to %s\n", n, args[1])
			return nil
		},
	}
}

func newStoreRestore() *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use:   "restore BACKUP STORE",
		Short: "make a store from a backup",
		Long: `restore checks a backup and makes the store from it, in one step: whatever is
wrong with the backup, a store that was there stays. It replaces one only with
--force, and never one that is in use.`,
		Args: arguments("BACKUP", "STORE"),
		RunE: func(c *cobra.Command, args []string) error {
			path, err := boltPath(args[1])
			if err != nil {
				return err
			}
			f, err := os.Open(args[0])
			if err != nil {
				return fmt.Errorf("open backup: %w", err)
			}
			defer f.Close()
			revision, err := boltstore.Restore(c.Context(), boltstore.Config{Path: path}, f, force)
			if fault.KindOf(err) == fault.Exists {
				return fmt.Errorf("%w (--force)", err)
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "restored %s at revision %d\n", args[1], revision)
			return nil
		},
	}
	c.Flags().BoolVar(&force, "force", false, "replace a store that is there")
	return c
}

// writeNew makes a file that gets its name only when it is whole, and was
// found good. One that is there already stays, unless force is set.
func writeNew(ctx context.Context, path string, force bool, fill func(io.Writer) error, check func(context.Context, string) error) (err error) {
	if _, err := os.Lstat(path); err == nil && !force {
		return fmt.Errorf("%s is there already: name another file, or replace it with --force", path)
	}
	t, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(t.Name())
	err = fill(t)
	if err == nil {
		err = t.Sync()
	}
	if err = errors.Join(err, t.Close()); err != nil {
		return err
	}
	if err := check(ctx, t.Name()); err != nil {
		return err
	}
	if force {
		err = os.Rename(t.Name(), path)
	} else if err = os.Link(t.Name(), path); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already: name another file, or replace it with --force", path)
	}
	if err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

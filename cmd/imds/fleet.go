package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"openimds/internal/admin"
	"openimds/internal/pki"
)

func newFleet() *cobra.Command {
	c := &cobra.Command{
		Use:   "fleet",
		Short: "certificates of nodes, and how they stand",
		Long: `fleet is for hosts that run imds-node: it makes the small certificate authority
by which a control plane and its nodes know each other, and shows which nodes
follow. docs/operate/fleet.md tells how a fleet is set up.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newFleetInit(), newFleetCertificate(), newFleetNodes())
	return c
}

// Names of files in the folder of a fleet, without .crt and .key.
const (
	authorityName = "authority"
	controlName   = "control"
)

func newFleetInit() *cobra.Command {
	var hosts []string
	c := &cobra.Command{
		Use:   "init DIR",
		Short: "make an authority, and the control plane's certificate",
		Long: `init makes the folder DIR with an authority (authority.crt, authority.key) and
the control plane's certificate (control.crt, control.key). Where an authority is
there already it is kept, and only the control plane's certificate is made anew:
that is how it is renewed. Keep authority.key where nobody else can read it; no
running program needs it.`,
		Example: "  imds fleet init /etc/imds/fleet --host control.example --host 10.1.2.3",
		Args:    oneArg("the folder, such as /etc/imds/fleet"),
		RunE: func(c *cobra.Command, args []string) error {
			if len(hosts) == 0 {
				return usageError{errors.New("--host is needed: a name or an address under which nodes reach the control plane")}
			}
			dir, now := args[0], time.Now()
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return fmt.Errorf("make the fleet's folder: %w", err)
			}
			authority, err := readPair(dir, authorityName)
			if errors.Is(err, fs.ErrNotExist) {
				if authority, err = pki.NewAuthority("openimds fleet", now); err == nil {
					err = writePair(dir, authorityName, authority)
				}
			}
			if err != nil {
				return err
			}
			pair, err := authority.Control(hosts, now)
			if err != nil {
				return err
			}
			if err := writePair(dir, controlName, pair); err != nil {
				return err
			}
			return showCertificate(c, dir, controlName, pair)
		},
	}
	c.Flags().StringArrayVar(&hosts, "host", nil, "name or address under which nodes reach the control plane; may be given more than once")
	return c
}

// nodeForm is what a node may be called: it becomes the name of a file.
var nodeForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

func newFleetCertificate() *cobra.Command {
	return &cobra.Command{
		Use:   "certificate NODE DIR",
		Short: "issue a node's certificate",
		Long: `certificate issues a certificate for the node of that name, by the authority in
the folder DIR: NODE.crt and NODE.key. The node needs both, and authority.crt. It
serves the instances whose node is NODE. Issued again, the node goes on with the
new files from its next connection on.`,
		Example: "  imds fleet certificate host-1 /etc/imds/fleet",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usageError{fmt.Errorf("%s needs the node's name and the fleet's folder (see %[1]s --help)", c.CommandPath())}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			name, dir := args[0], args[1]
			if !nodeForm.MatchString(name) || name == authorityName || name == controlName {
				return usageError{fmt.Errorf("found the node %q, expected at most 63 letters, digits and . _ -, and neither %s nor %s", name, authorityName, controlName)}
			}
			authority, err := readPair(dir, authorityName)
			if errors.Is(err, fs.ErrNotExist) {
				return usageError{fmt.Errorf("%w: make the fleet's authority first: imds fleet init %s", err, dir)}
			}
			if err != nil {
				return err
			}
			pair, err := authority.Node(name, time.Now())
			if err != nil {
				return err
			}
			if err := writePair(dir, name, pair); err != nil {
				return err
			}
			return showCertificate(c, dir, name, pair)
		},
	}
}

// showCertificate says what was made.
func showCertificate(c *cobra.Command, dir, name string, p pki.Pair) error {
	_, end, err := pki.Leaf(p.Cert)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.OutOrStdout(), "%s and %s, good until %s\n", filepath.Join(dir, name+".crt"), name+".key", end.Format(time.DateOnly))
	return nil
}

func readPair(dir, name string) (p pki.Pair, err error) {
	if p.Cert, err = os.ReadFile(filepath.Join(dir, name+".crt")); err == nil {
		p.Key, err = os.ReadFile(filepath.Join(dir, name+".key"))
	}
	if err != nil {
		return p, fmt.Errorf("read the certificate of %s: %w", name, err)
	}
	return p, nil
}

// writePair puts both files in place, the key first: a reader that meets the
// new one with the old certificate refuses the pair, and tries again.
func writePair(dir, name string, p pki.Pair) error {
	for _, f := range []struct {
		name string
		data []byte
		mode os.FileMode
	}{{name + ".key", p.Key, 0o600}, {name + ".crt", p.Cert, 0o644}} {
		if err := replaceFile(filepath.Join(dir, f.name), f.data, f.mode); err != nil {
			return fmt.Errorf("write the certificate of %s: %w", name, err)
		}
	}
	return nil
}

// replaceFile writes a file, whole or not at all.
func replaceFile(path string, data []byte, mode os.FileMode) error {
	t, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(t.Name())
	_, err = t.Write(data)
	if err == nil {
		err = t.Chmod(mode)
	}
	if err == nil {
		err = t.Sync()
	}
	if err = errors.Join(err, t.Close()); err != nil {
		return err
	}
	return os.Rename(t.Name(), path)
}

// oneArg wants one argument.
func oneArg(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usageError{fmt.Errorf("%s needs one argument: %s", c.CommandPath(), what)}
		}
		return nil
	}
}

func newFleetNodes() *cobra.Command {
	var client clientOptions
	var form string
	c := &cobra.Command{
		Use:   "nodes",
		Short: "show the nodes of the fleet",
		Long: `nodes shows every node that follows the control plane, or that instances are
assigned to. One that has instances and does not follow serves the last good
state.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkForm(form); err != nil {
				return err
			}
			server, err := client.open()
			if err != nil {
				return err
			}
			data, err := server.do(c.Context(), http.MethodGet, "nodes", nil, nil)
			if err != nil {
				return err
			}
			if form != formTable {
				return write(c.OutOrStdout(), form, data)
			}
			var out admin.AllNodes
			if err := json.Unmarshal(data, &out); err != nil {
				return fmt.Errorf("read the answer: %w", err)
			}
			var rows [][]string
			for _, n := range out.Nodes {
				follows, since := "no", ""
				if n.Connected > 0 {
					follows, since = "yes", stamp(n.Since)
				}
				rows = append(rows, []string{n.Name, follows, since, strconv.Itoa(n.Instances)})
			}
			return table(c.OutOrStdout(), []string{"NODE", "FOLLOWS", "SINCE", "INSTANCES"}, rows)
		},
	}
	client.flags(c)
	outputFlag(c, &form)
	return c
}

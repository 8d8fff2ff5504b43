package testnet

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// Cmd is a program under test, like exec.Cmd: what it writes goes where the
// test says, and to the witness. Tests start our programs by it and in no other
// way (see internal/archtest).
type Cmd struct {
	*exec.Cmd
	// Answers tells that what the program prints is for who asked, as a new key
	// is: only its standard error is a log.
	Answers bool
}

// Command returns a program that is not started yet. The context kills it.
func Command(ctx context.Context, name string, args ...string) *Cmd {
	return &Cmd{Cmd: exec.CommandContext(ctx, name, args...)}
}

// Server returns a program that ends by itself, or by the signals that the
// test sends.
func Server(name string, args ...string) *Cmd {
	return &Cmd{Cmd: exec.Command(name, args...)} //nolint:noctx // see above
}

// Start is that of exec.Cmd.
func (c *Cmd) Start() error {
	who := c.who()
	if c.Stdout != nil && c.Stdout == c.Stderr {
		c.Stdout = &locked{w: c.Stdout}
		c.Stderr = c.Stdout
	}
	if !c.Answers {
		c.Stdout = heard(c.Stdout, who+"-stdout")
	}
	c.Stderr = heard(c.Stderr, who+"-stderr")
	return c.Cmd.Start()
}

// locked is written by one at a time.
type locked struct {
	mu sync.Mutex
	w  io.Writer
}

// Write hands on.
func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// Run is that of exec.Cmd.
func (c *Cmd) Run() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

// Output is that of exec.Cmd, but what the program says of an error is lost
// unless c.Stderr is set.
func (c *Cmd) Output() ([]byte, error) {
	var out bytes.Buffer
	c.Stdout = &out
	err := c.Run()
	return out.Bytes(), err
}

// CombinedOutput is that of exec.Cmd.
func (c *Cmd) CombinedOutput() ([]byte, error) {
	var out bytes.Buffer
	c.Stdout = &out
	c.Stderr = &out
	err := c.Run()
	return out.Bytes(), err
}

// StdoutPipe is that of exec.Cmd. The witness hears what is read.
func (c *Cmd) StdoutPipe() (io.ReadCloser, error) {
	out, err := c.Cmd.StdoutPipe()
	if err != nil || c.Answers {
		return out, err
	}
	return c.tee(out, "stdout"), nil
}

// StderrPipe is that of exec.Cmd. The witness hears what is read.
func (c *Cmd) StderrPipe() (io.ReadCloser, error) {
	out, err := c.Cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	return c.tee(out, "stderr"), nil
}

func (c *Cmd) tee(out io.ReadCloser, name string) io.ReadCloser {
	return struct {
		io.Reader
		io.Closer
	}{io.TeeReader(out, Witness(c.who()+"-"+name)), out}
}

// who has a file of its own each time: pieces of two do not mix.
func (c *Cmd) who() string { return filepath.Base(c.Path) + "-" + rand.Text()[:8] }

// heard is w, with the witness beside it. A file stays a file: its reader is
// who must note what comes.
func heard(w io.Writer, who string) io.Writer {
	if os.Getenv(witness) == "" {
		return w
	}
	switch w := w.(type) {
	case nil:
		return Witness(who)
	case *os.File:
		return w
	}
	return io.MultiWriter(w, Witness(who))
}

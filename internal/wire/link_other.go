//go:build !linux

package wire

// link is the sending side of a connection. Outside Linux hop limits are not
// set, and the answer and the end of the connection go in packets of their own.
type link struct{ c *conn }

func (l *link) init(c *conn) { l.c = c }

func (l *link) reset() {}

func (l *link) send(out []byte, _ int, _ bool) ([]byte, error) {
	_, err := l.c.nc.Write(out)
	return nil, err
}

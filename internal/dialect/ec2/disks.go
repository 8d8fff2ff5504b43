package ec2

import (
	"strconv"
	"strings"

	"openimds/internal/instance"
	"openimds/internal/item"
)

// defaultRoot is the root device of an instance that names none (EC2-ITEM-007).
const defaultRoot = "/dev/xvda"

// rootDevice is where the root file system is, in full.
func rootDevice(dst []byte, q *item.Query) ([]byte, bool) {
	if d := diskOf(q.Instance, instance.DiskRoot); d != nil && d.Device != "" {
		return append(dst, d.Device...), true
	}
	return append(dst, defaultRoot...), true
}

func swapDevice(dst []byte, q *item.Query) ([]byte, bool) {
	return device(dst, diskOf(q.Instance, instance.DiskSwap))
}

// diskOf returns the first disk of a kind, or nil.
func diskOf(in *instance.Instance, kind string) *instance.Disk {
	for i := range in.Disks {
		if in.Disks[i].Kind == kind {
			return &in.Disks[i]
		}
	}
	return nil
}

// numberedDevice is the device of the volume that the path names by number.
func numberedDevice(dst []byte, q *item.Query) ([]byte, bool) {
	want := q.Index(0)
	for i := range q.Instance.Disks {
		d := &q.Instance.Disks[i]
		if !numbered(d) {
			continue
		}
		if want == 0 {
			return device(dst, d)
		}
		want--
	}
	return dst, false
}

// device appends a device's name without /dev/ (EC2-ITEM-008).
func device(dst []byte, d *instance.Disk) ([]byte, bool) {
	if d == nil || d.Device == "" {
		return dst, false
	}
	return append(dst, strings.TrimPrefix(d.Device, "/dev/")...), true
}

// numbered tells which disks are named by kind and number.
func numbered(d *instance.Disk) bool {
	switch d.Kind {
	case "", instance.DiskData, instance.DiskEphemeral:
		return true
	}
	return false
}

// deviceNames are the names of the volumes: ebs1, ebs2, … and ephemeral0,
// ephemeral1, … (EC2-ITEM-008, EC2-ITEM-009), in the order of the disks.
func deviceNames() func(dst []string, q *item.Query) []string {
	// What an instance may have attached, so that a look-up makes no strings.
	const volumes, stores = 128, 24
	ebs, ephemeral := series("ebs", volumes), series("ephemeral", stores)
	return func(dst []string, q *item.Query) []string {
		volume, store := 1, 0
		for i := range q.Instance.Disks {
			d := &q.Instance.Disks[i]
			switch {
			case !numbered(d):
			case d.Kind == instance.DiskEphemeral:
				dst = append(dst, nth(ephemeral, "ephemeral", store))
				store++
			default:
				dst = append(dst, nth(ebs, "ebs", volume))
				volume++
			}
		}
		return dst
	}
}

// series returns prefix0, prefix1, … up to prefix and last.
func series(prefix string, last int) []string {
	names := make([]string, last+1)
	for i := range names {
		names[i] = prefix + strconv.Itoa(i)
	}
	return names
}

func nth(names []string, prefix string, n int) string {
	if n < len(names) {
		return names[n]
	}
	return prefix + strconv.Itoa(n)
}

package instance

import "strings"

var diskKinds = []string{DiskData, DiskRoot, DiskEphemeral, DiskSwap}

func (c *checker) disks(list Path, disks []Disk) {
	roots := 0
	for i := range disks {
		d, at := &disks[i], list.Index(i)
		c.oneOf(at.Key("kind"), d.Kind, diskKinds)
		// Instance stores and swap space are no volumes: they have no id.
		if d.Kind == DiskEphemeral || d.Kind == DiskSwap {
			c.word(at.Key("id"), d.ID)
		} else {
			c.id(at.Key("id"), d.ID)
		}
		c.word(at.Key("serial"), d.Serial)
		c.text(at.Key("name"), d.Name, 128)
		c.device(at.Key("device"), d.Device)
		if d.Kind == DiskRoot {
			if roots++; roots == 2 {
				c.addf(at.Key("kind"), "found a second root disk, expected one")
			}
		}
	}
	uniqueBy(c, list, disks, "id", func(d Disk) string { return d.ID })
	uniqueBy(c, list, disks, "serial", func(d Disk) string { return d.Serial })
	uniqueBy(c, list, disks, "device", func(d Disk) string { return strings.TrimPrefix(d.Device, "/dev/") })
}

// device checks a device name, which every EC2 disk has: it is what the block
// device mapping says.
func (c *checker) device(at Path, name string) {
	if name == "" {
		if c.dialect == DialectEC2 {
			c.addf(at, "is required: a device name such as /dev/xvda or sdb")
		}
		return
	}
	short := strings.TrimPrefix(name, "/dev/")
	if len(short) < 2 || len(short) > 32 || !allOf(short, "") || short[0] < 'a' || short[0] > 'z' {
		c.addf(at, "found %s, expected a device name such as /dev/xvda or sdb", quote(name))
	}
}

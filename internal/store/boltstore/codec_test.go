package boltstore

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"openimds/internal/store"
)

func someEvent(t *rapid.T) store.Event {
	e := store.Event{Entry: store.Entry{Key: string(rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "key")), Modified: 7}}
	if e.Deleted = rapid.Bool().Draw(t, "deleted"); !e.Deleted {
		e.Created = rapid.Uint64().Draw(t, "created")
		e.Value = append([]byte{}, rapid.SliceOf(rapid.Byte()).Draw(t, "value")...)
	}
	return e
}

// What is encoded is decoded, and nothing is decoded from what is cut off or
// has one bit changed, or stands in another place.
func TestCodec(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		batch := store.Batch{Revision: 7, Events: rapid.SliceOfN(rapid.Custom(someEvent), 1, 5).Draw(t, "events")}
		b := encodeBatch(batch)
		if got, err := decodeBatch(7, b); err != nil || !reflect.DeepEqual(got, batch) {
			t.Fatalf("decoded %+v, %v", got, err)
		}
		e := store.Entry{Key: "k", Value: append([]byte{}, rapid.SliceOf(rapid.Byte()).Draw(t, "value")...), Created: rapid.Uint64().Draw(t, "created"), Modified: rapid.Uint64().Draw(t, "modified")}
		v := encodeEntry(e)
		if got, err := decodeEntry("k", v); err != nil || !reflect.DeepEqual(got, e) {
			t.Fatalf("decoded %+v, %v", got, err)
		}

		at, bit := rapid.IntRange(0, len(b)-1).Draw(t, "at"), byte(1<<rapid.IntRange(0, 7).Draw(t, "bit"))
		bad := append([]byte{}, b...)
		bad[at] ^= bit
		for what, b := range map[string][]byte{"a changed bit": bad, "the first part": b[:at], "more": append(b, 0)} {
			if got, err := decodeBatch(7, b); err == nil {
				t.Fatalf("%s decoded to %+v", what, got)
			}
		}
		if _, err := decodeBatch(8, b); err == nil {
			t.Fatal("decoded under another revision")
		}
		at = rapid.IntRange(0, len(v)-1).Draw(t, "at")
		bad = append([]byte{}, v...)
		bad[at] ^= bit
		for what, v := range map[string][]byte{"a changed bit": bad, "the first part": v[:at], "more": append(v, 0)} {
			if got, err := decodeEntry("k", v); err == nil {
				t.Fatalf("%s decoded to %+v", what, got)
			}
		}
		if _, err := decodeEntry("l", v); err == nil {
			t.Fatal("decoded under another key")
		}
	})
}

// FuzzDecodeBatch: behind a good checksum there may be anything, too. What is
// decoded is what was encoded, up to the spelling of numbers.
func FuzzDecodeBatch(f *testing.F) {
	f.Add(encodeBatch(store.Batch{Revision: 7, Events: []store.Event{
		{Entry: store.Entry{Key: "a", Value: []byte("1"), Created: 3, Modified: 7}},
		{Entry: store.Entry{Key: "b", Modified: 7}, Deleted: true},
	}})[4:])
	f.Add([]byte{1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, body []byte) {
		sum := checksum(revisionKey(7), body)
		b := append([]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)}, body...)
		batch, err := decodeBatch(7, b)
		if err != nil {
			return
		}
		again, err := decodeBatch(7, encodeBatch(batch))
		if err != nil || !reflect.DeepEqual(again, batch) {
			t.Errorf("decoded %+v, and after encoding that %+v, %v", batch, again, err)
		}
	})
}

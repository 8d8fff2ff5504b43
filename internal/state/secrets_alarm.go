package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"openimds/internal/alarm"
	"openimds/internal/seal"
)

// Webhook is the attribute of an ECS rule that is an address, too.
const Webhook = "Webhook"

// addresses are the secrets of an alarm: whoever knows where it sends to can
// send there, too.
type addresses struct {
	Actions map[alarm.State][]string `json:"actions,omitempty"`
	Webhook string                   `json:"webhook,omitempty"`
}

var guardAlarm = guard[Alarm]{hide: hideAlarm, show: showAlarm}

func hideAlarm(keys *seal.Ring, a *Alarm) (*Alarm, error) {
	if len(a.Actions) == 0 && a.Attributes[Webhook] == "" {
		return a, nil
	}
	plain, err := json.Marshal(addresses{a.Actions, a.Attributes[Webhook]})
	if err != nil {
		return nil, err
	}
	hidden := *a
	hidden.Sealed = keys.Seal(plain, "alarms/"+a.Key()+"/addresses")
	hidden.Actions, hidden.Attributes = nil, maps.Clone(a.Attributes)
	delete(hidden.Attributes, Webhook)
	return &hidden, nil
}

func showAlarm(keys *seal.Ring, a *Alarm) error {
	var secrets addresses
	if err := reveal(keys, a.Sealed, "alarms/"+a.Key()+"/addresses", &secrets); err != nil || len(a.Sealed) == 0 {
		return err
	}
	a.Sealed, a.Actions = nil, secrets.Actions
	if secrets.Webhook != "" {
		if a.Attributes == nil {
			a.Attributes = map[string]string{}
		}
		a.Attributes[Webhook] = secrets.Webhook
	}
	return nil
}

var guardNotice = guard[Notice]{hide: hideNotice, show: showNotice}

func hideNotice(keys *seal.Ring, n *Notice) (*Notice, error) {
	plain, err := json.Marshal(n.URL)
	if err != nil {
		return nil, err
	}
	hidden := *n
	hidden.Sealed, hidden.URL = keys.Seal(plain, "notices/"+n.ID+"/url"), ""
	return &hidden, nil
}

func showNotice(keys *seal.Ring, n *Notice) error {
	if err := reveal(keys, n.Sealed, "notices/"+n.ID+"/url", &n.URL); err != nil {
		return err
	}
	n.Sealed = nil
	return nil
}

// reveal opens what was sealed, if anything was.
func reveal(keys *seal.Ring, sealed []byte, purpose string, into any) error {
	if len(sealed) == 0 {
		return nil
	}
	if keys == nil {
		return errors.New("its addresses are sealed, and there is no key to open them")
	}
	plain, err := keys.Open(sealed, purpose)
	if err != nil {
		return fmt.Errorf("open its addresses: %w", err)
	}
	if json.Unmarshal(plain, into) != nil {
		return errors.New("its addresses are damaged")
	}
	return nil
}

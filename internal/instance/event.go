package instance

import "time"

// Events are what is going to happen to an instance, or has happened.
type Events struct {
	// Spot interruption or preemptible reclaim, once it has been announced.
	Spot *SpotInterruption `json:"spot,omitempty"`
	// When a rebalance was recommended (EC2).
	Rebalance time.Time `json:"rebalance,omitzero"`
	// Scheduled maintenance, past events included (EC2).
	Maintenance []Maintenance `json:"maintenance,omitempty"`
	// Active system events (ECS).
	System []SystemEvent `json:"system,omitempty"`
}

// SpotInterruption announces that a spot instance is taken back.
type SpotInterruption struct {
	// What happens: `terminate` (default), `stop` or `hibernate`.
	Action string `json:"action,omitempty"`
	// When.
	Time time.Time `json:"time"`
}

// Maintenance is a scheduled event of an EC2 instance.
type Maintenance struct {
	// Identifier, such as `instance-event-0d59937288b749b32`.
	ID string `json:"id"`
	// What happens: `instance-reboot`, `system-reboot`, `system-maintenance`, `instance-retirement` or `instance-stop`.
	Code string `json:"code"`
	// In words.
	Description string `json:"description,omitempty"`
	// Earliest start.
	NotBefore time.Time `json:"notBefore"`
	// Latest end.
	NotAfter time.Time `json:"notAfter,omitzero"`
	// `active` (default), `completed` or `canceled`; the last two are history.
	State string `json:"state,omitempty"`
}

// SystemEvent is a system event of an ECS instance.
type SystemEvent struct {
	// Identifier, such as `e-bp1…`.
	ID string `json:"id"`
	// What happens, such as `SystemMaintenance.Reboot`.
	Type string `json:"type"`
	// `Scheduled` (default), `Executing` or `Inquiring`.
	Status string `json:"status,omitempty"`
	// When it is planned for.
	NotBefore time.Time `json:"notBefore"`
}

// States of a Maintenance.
const (
	EventActive    = "active"
	EventCompleted = "completed"
	EventCanceled  = "canceled"
)

// SpotAction returns what the interruption does, with its default filled in.
func (s *SpotInterruption) SpotAction() string {
	if s.Action == "" {
		return "terminate"
	}
	return s.Action
}

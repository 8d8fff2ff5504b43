package cms

import "time"

// Read reads all kinds of parameters.
func Read(all map[string]string) {
	p := parameters(all)
	_, _ = p.period()
	_, _ = p.time("StartTime", time.Unix(0, 0))
	_, _, _ = p.instances("Dimensions", maxInstances)
	_, _ = p.repeated("RuleId")
	_, _ = readToken(all["NextToken"])
}

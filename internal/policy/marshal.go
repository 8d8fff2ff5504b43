package policy

// MarshalJSON returns the document in one form: members in a fixed order, a
// list of one as the one, nothing that says what holds anyway, and no white
// space. It is no longer than the document was, and Parse reads it back as a
// policy that decides alike.
func (p *Policy) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	if p.version != defaultVersion {
		b = append(appendText(append(b, `"Version":`...), p.version), ',')
	}
	b = append(b, `"Statement":`...)
	b = appendList(b, len(p.statements), func(b []byte, i int) []byte { return p.statements[i].append(b) })
	return append(b, '}'), nil
}

// String returns what MarshalJSON does.
func (p *Policy) String() string {
	b, err := p.MarshalJSON()
	if err != nil {
		return "policy: " + err.Error()
	}
	return string(b)
}

func (s *statement) append(b []byte) []byte {
	b = append(b, '{')
	if s.sid != "" {
		b = append(appendText(append(b, `"Sid":`...), s.sid), ',')
	}
	effect := `"Effect":"Allow",`
	if s.deny {
		effect = `"Effect":"Deny",`
	}
	b = append(b, effect...)
	b = append(appendTemplates(b, "Action", s.notAction, s.actions), ',')
	b = appendTemplates(b, "Resource", s.notResource, s.resources)
	if len(s.conditions) > 0 {
		b = appendConditions(append(b, `,"Condition":`...), s.conditions)
	}
	return append(b, '}')
}

func appendTemplates(b []byte, name string, not bool, all []template) []byte {
	if not {
		name = "Not" + name
	}
	b = append(appendText(b, name), ':')
	return appendList(b, len(all), func(b []byte, i int) []byte { return appendText(b, all[i].source) })
}

// appendConditions writes conditions, those of one operator together, as they
// were read.
func appendConditions(b []byte, all []condition) []byte {
	b = append(b, '{')
	for i := range all {
		c := &all[i]
		switch {
		case i > 0 && c.written == all[i-1].written:
			b = append(b, ',')
		case i > 0:
			b = append(b, "},"...)
			fallthrough
		default:
			b = append(appendText(b, c.written), ":{"...)
		}
		b = append(appendText(b, c.keyText), ':')
		b = appendList(b, len(c.operands), func(b []byte, i int) []byte {
			if o := &c.operands[i]; o.bare {
				return append(b, o.source...)
			}
			return appendText(b, c.operands[i].source)
		})
	}
	return append(b, "}}"...)
}

func appendList(b []byte, n int, item func([]byte, int) []byte) []byte {
	if n == 1 {
		return item(b, 0)
	}
	b = append(b, '[')
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		b = item(b, i)
	}
	return append(b, ']')
}

// appendText writes a string, which is valid UTF-8, with as few escapes as
// JSON allows. Package json would write some characters longer than they were.
func appendText(b []byte, s string) []byte {
	const hex, short = "0123456789abcdef", "\bb\ff\nn\rr\tt\"\"\\\\"
	b = append(b, '"')
next:
	for i := range len(s) {
		c := s[i]
		for j := 0; j < len(short); j += 2 {
			if c == short[j] {
				b = append(b, '\\', short[j+1])
				continue next
			}
		}
		if c < ' ' {
			b = append(b, `\u00`...)
			b = append(b, hex[c>>4], hex[c&15])
			continue
		}
		b = append(b, c)
	}
	return append(b, '"')
}

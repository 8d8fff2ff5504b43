// Package policy reads and evaluates the policies that say who may do what:
// documents in the language of IAM and in that of RAM. Parse is strict and
// compiles; Evaluate is pure, takes everything that it needs as values, and
// keeps nothing between calls. The facts it follows are POL- facts.
package policy

// Language is the language of a policy document.
type Language uint8

// The two languages. Their documents look alike and differ in Version,
// operators, resource names and variables (POL-DOC-02, POL-DOC-03).
const (
	IAM Language = iota // Version "2012-10-17" or "2008-10-17", resources arn:…
	RAM                 // Version "1", resources acs:…
)

// String returns the name of the language.
func (l Language) String() string {
	if l == RAM {
		return "RAM"
	}
	return "IAM"
}

// Policy is a compiled policy document. Parse makes it; it does not change
// afterwards, so that any number of evaluations may share it.
type Policy struct {
	// Name is what the owner calls the policy. It is no part of the document
	// and shows in a Decision; set it before the policy is first evaluated.
	Name string

	language   Language
	version    string
	statements []statement
}

// Language returns the language that the policy was parsed in.
func (p *Policy) Language() Language { return p.language }

// statement is one compiled statement.
type statement struct {
	sid  string
	deny bool

	notAction bool // the actions are those that are not meant
	actions   []template

	notResource bool // so are the resources
	resources   []template

	conditions []condition
	summary    string // operators and keys of the conditions, for a Decision
}

// FullAccess returns a policy that allows every action on every resource: the
// guard that an account has as long as nobody takes it away (POL-EVAL-04).
func FullAccess(l Language) *Policy {
	version := "2012-10-17"
	if l == RAM {
		version = "1"
	}
	p, err := Parse([]byte(`{"Version":"`+version+`","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`), l)
	if err != nil {
		panic("policy: the built-in policy is not valid: " + err.Error())
	}
	p.Name = "FullAccess"
	return p
}

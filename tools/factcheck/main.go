// Command factcheck keeps docs/spec, the code and the tests together. Every
// numbered fact is stated once in docs/spec, and whoever cites one cites one
// that exists; every fact is cited by a test or by an HTTP script, or is
// excused with a reason in the file untested.txt beside this command.
//
// Usage: factcheck [-root DIR] [-untested FILE] [-list]
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("factcheck", flag.ContinueOnError)
	flags.SetOutput(stderr)
	root := flags.String("root", ".", "top `directory` of the project")
	untested := flags.String("untested", "tools/factcheck/untested.txt", "`file` of facts that no test cites, each with a reason; relative to root")
	list := flags.Bool("list", false, "print every fact with the tests that cite it")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	problems, err := check(*root, filepath.Join(*root, *untested), *list, stdout)
	if err != nil {
		fmt.Fprintln(stderr, "factcheck:", err)
		return 2
	}
	for _, p := range problems {
		fmt.Fprintln(stderr, p)
	}
	if len(problems) > 0 {
		fmt.Fprintf(stderr, "factcheck: %d problems\n", len(problems))
		return 1
	}
	return 0
}

// check returns what is wrong with the project at root, a line each, sorted
// by kind and then by place.
func check(root, untested string, list bool, w io.Writer) ([]string, error) {
	facts, problems, err := readSpec(root)
	if err != nil {
		return nil, err
	}
	cites, err := readCites(root)
	if err != nil {
		return nil, err
	}
	excuses, err := readExcuses(untested)
	if err != nil {
		return nil, err
	}
	tested := map[string][]place{}
	for _, c := range cites {
		if _, ok := facts[c.id]; !ok {
			problems = append(problems, fmt.Sprintf("%s: %s is cited and stands nowhere in docs/spec", c.place, c.id))
		}
		if c.test {
			tested[c.id] = append(tested[c.id], c.place)
		}
	}
	ids := sortedIDs(facts)
	for _, id := range ids {
		if _, excused := excuses[id]; len(tested[id]) == 0 && !excused {
			problems = append(problems, fmt.Sprintf("%s: no test cites %s: %s", facts[id].place, id, facts[id].statement))
		}
	}
	for _, id := range sortedIDs(excuses) {
		switch {
		case facts[id].statement == "":
			problems = append(problems, fmt.Sprintf("%s: %s is excused and stands nowhere in docs/spec", excuses[id].place, id))
		case len(tested[id]) > 0:
			problems = append(problems, fmt.Sprintf("%s: %s is excused, but %s tests it: remove the line", excuses[id].place, id, tested[id][0]))
		}
	}
	if list {
		for _, id := range ids {
			fmt.Fprintln(w, id, tested[id])
		}
	}
	fmt.Fprintf(w, "factcheck: %d facts, %d cited by tests, %d excused\n", len(facts), len(tested), len(excuses))
	return problems, nil
}

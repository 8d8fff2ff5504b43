//go:build linux

package main

import (
	"fmt"
	"slices"
)

// figure is what one measurement of CPU gave.
type figure struct {
	cpu  float64 // microseconds an answer
	rate float64 // answers a second
}

// figures are those of all rounds, in their order.
type figures map[key][]figure

func (f figures) add(k key, v figure) { f[k] = append(f[k], v) }

// rate is the median rate.
func (f figures) rate(test, server string) float64 {
	return spreadOf(f[key{test, server}], func(v figure) float64 { return v.rate }).median
}

// cpu is the CPU time of an answer.
func (f figures) cpu(k key) spread {
	return spreadOf(f[k], func(v figure) float64 { return v.cpu })
}

// against is the ratio of CPU times of an answer, taken within each round.
func (f figures) against(k, base key) spread {
	return ratios(f[k], f[base], func(v figure) float64 { return v.cpu })
}

// spread is what several rounds say.
type spread struct{ median, min, max float64 }

// spreadOf is the spread of of(v).
func spreadOf[T any](all []T, of func(T) float64) spread {
	if len(all) == 0 {
		return spread{}
	}
	values := make([]float64, len(all))
	for i, v := range all {
		values[i] = of(v)
	}
	slices.Sort(values)
	n := len(values)
	return spread{(values[(n-1)/2] + values[n/2]) / 2, values[0], values[n-1]}
}

// ratios is the spread of the ratios of of(v) to that of the same round of
// base. Noise that lasts for longer than a round hits both.
func ratios[T any](all, base []T, of func(T) float64) spread {
	quotients := make([]float64, min(len(all), len(base)))
	for i := range quotients {
		quotients[i] = of(all[i]) / of(base[i])
	}
	return spreadOf(quotients, func(q float64) float64 { return q })
}

// text shows a spread with so many digits after the point.
func (s spread) text(digits int) (median, span string) {
	return fmt.Sprintf("%.*f", digits, s.median), fmt.Sprintf("%.*f–%.*f", digits, s.min, digits, s.max)
}

package cloudwatch

// named is a percentile of a datapoint.
type named struct {
	Name  string
	Value float64
}

// extended is a map on the wire, from percentiles to values. In XML its entries
// have key and value.
type extended []named

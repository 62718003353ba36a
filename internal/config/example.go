package config

import _ "embed"

// example is a whole configuration, with every key.
//
//go:embed example.yaml
var example string

// Example returns a rowhook.yaml that has every key, to start from. It loads
// once the variables and the files it names are there.
func Example() string { return example }

// Package bench is the code behind `rowhook bench`: scenarios that measure Rowhook beside its peers and limits.
//
// Each scenario makes its own load on a private database server, or in a database of its own on a server it is given, runs Rowhook
// and its peers in turns on that same load, and returns the medians as a [Result]: absolutes and ratios, with the settings they
// were made under. A ratio compares what ran within the same minutes on the same machine; an absolute says little without it.
//
// It guarantees that a figure is returned only for complete work: a reader that saw fewer rows than were written, or a commit that
// never arrived, is an error. What it makes (servers, databases, folders, processes) it removes, also when it fails.
//
// It does not tune: Rowhook and its peers run with the settings they have, and where a setting was chosen it is in the result.
package bench

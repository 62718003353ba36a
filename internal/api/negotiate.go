package api

import (
	"mime"
	"strconv"
	"strings"
)

// acceptable reports whether a request takes an answer of the media type. Problems are sent in any case.
func acceptable(accept []string, media string) bool {
	family, _, _ := strings.Cut(media, "/")
	best, found := -1, false
	asked := false
	for r := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		if strings.TrimSpace(r) == "" {
			continue
		}
		asked = true
		name, params, err := mime.ParseMediaType(r)
		if err != nil {
			continue
		}
		rank := map[string]int{"*/*": 0, family + "/*": 1, media: 2}
		// The most exact range decides, as one may exclude what a wider one lets through.
		if n, ok := rank[name]; ok && n > best {
			best, found = n, weight(params["q"]) > 0
		}
	}
	return !asked || found
}

func weight(q string) float64 {
	if q == "" {
		return 1
	}
	w, err := strconv.ParseFloat(q, 64)
	if err != nil {
		return 0
	}
	return w
}

package api

import (
	"net/http"
	"strconv"
	"strings"
)

// etag is the entity tag of a version.
func etag(version uint64) string { return `"` + strconv.FormatUint(version, 10) + `"` }

// ifMatch returns the version that a change is for; 0 is any. A tag that no version can have is stale.
func ifMatch(tag entityTag) (uint64, error) {
	if tag == "" || tag == "*" {
		return 0, nil
	}
	text := strings.Trim(string(tag), `"`)
	version, err := strconv.ParseUint(text, 10, 64)
	if err != nil || version == 0 || etag(version) != string(tag) {
		return 0, errStale()
	}
	return version, nil
}

func errStale() *refusal {
	return &refusal{Problem: Problem{Status: http.StatusPreconditionFailed, Code: codeStale, Detail: "it has changed since that entity tag was given", Hint: "read it again, and send the ETag of that answer in If-Match"}}
}

// notModified returns the status of an answer whose caller may have it already.
func notModified(tags entityTags, version uint64) int {
	for tag := range strings.SplitSeq(string(tags), ",") {
		tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
		if tag == "*" || tag == etag(version) {
			return http.StatusNotModified
		}
	}
	return http.StatusOK
}

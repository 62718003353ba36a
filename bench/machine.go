package bench

import (
	"runtime"
	"runtime/debug"
)

// describeMachine adds what of this process and its machine decides its speed.
func describeMachine(f *Figures) {
	f.Add("cpus", runtime.NumCPU())
	f.Add("gomaxprocs", runtime.GOMAXPROCS(0))
	f.Add("os", runtime.GOOS+"/"+runtime.GOARCH)
	f.Add("go", runtime.Version())
}

// moduleVersion returns the version of a module that the binary was built with.
func moduleVersion(path string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, m := range info.Deps {
		if m.Path == path {
			return m.Version
		}
	}
	return "unknown"
}

// SPDX-License-Identifier: MIT

package simulator

import (
	"fmt"
	"strings"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"
)

// Simulator is the loaded library. A process has one for each path.
type Simulator struct {
	Path   string
	handle uintptr

	set, findings, report, clear, stat, live uintptr
	msgSend, register, getClass              uintptr
}

// Load builds the simulator if necessary and opens it.
var Load = sync.OnceValues(func() (*Simulator, error) {
	path, err := Build()
	if err != nil {
		return nil, err
	}
	return Open(path)
})

// Open opens the simulator with the given path.
func Open(path string) (*Simulator, error) {
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, err
	}
	s := &Simulator{Path: path, handle: handle}
	for name, to := range map[string]*uintptr{
		"metalsim_set": &s.set, "metalsim_findings": &s.findings, "metalsim_report": &s.report,
		"metalsim_clear": &s.clear, "metalsim_stat": &s.stat, "metalsim_live": &s.live,
		"objc_msgSend": &s.msgSend, "sel_registerName": &s.register, "objc_getClass": &s.getClass,
	} {
		if *to, err = purego.Dlsym(handle, name); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Symbol returns the address of an exported symbol, or 0 if it does not exist or is
// hidden.
func (s *Simulator) Symbol(name string) uintptr {
	a, err := purego.Dlsym(s.handle, name)
	if err != nil {
		return 0
	}
	return a
}

// Call calls a C function whose arguments are integers and pointers.
//
//go:uintptrescapes
func (s *Simulator) Call(function string, args ...uintptr) uintptr {
	r, _, _ := purego.SyscallN(s.Symbol(function), args...)
	return r
}

// Set changes a setting.
func (s *Simulator) Set(name, value string) error {
	n, v, e := append([]byte(name), 0), append([]byte(value), 0), make([]byte, 512)
	r, _, _ := purego.SyscallN(s.set, uintptr(unsafe.Pointer(&n[0])), uintptr(unsafe.Pointer(&v[0])),
		uintptr(unsafe.Pointer(&e[0])), uintptr(len(e)))
	if r != 0 {
		return fmt.Errorf("simulator: %s", unsafe.String(&e[0], strings.IndexByte(string(e), 0)))
	}
	return nil
}

func (s *Simulator) text(function uintptr) string {
	n, _, _ := purego.SyscallN(function, 0, 0)
	b := make([]byte, n+1)
	purego.SyscallN(function, uintptr(unsafe.Pointer(&b[0])), n+1)
	return string(b[:n])
}

// Findings lists the faults found so far.
func (s *Simulator) Findings() []string {
	return strings.FieldsFunc(s.text(s.findings), func(r rune) bool { return r == '\n' })
}

// Report returns findings, live objects and counters.
func (s *Simulator) Report() string { return s.text(s.report) }

// Clear forgets findings and zeroes the counters.
func (s *Simulator) Clear() { purego.SyscallN(s.clear) }

// Stat returns a counter of metalsim.h.
func (s *Simulator) Stat(name string) uint64 {
	n := append([]byte(name), 0)
	r, _, _ := purego.SyscallN(s.stat, uintptr(unsafe.Pointer(&n[0])))
	return uint64(r)
}

// Live counts the objects of a class; "" counts all.
func (s *Simulator) Live(class string) int {
	if class == "" {
		r, _, _ := purego.SyscallN(s.live, 0)
		return int(r)
	}
	n := append([]byte(class), 0)
	r, _, _ := purego.SyscallN(s.live, uintptr(unsafe.Pointer(&n[0])))
	return int(r)
}

// SPDX-License-Identifier: MIT

//go:build cgo

package mtl

/*
#cgo CFLAGS: -I${SRCDIR}/../rt
#include <stdlib.h>
#include <string.h>
#include "launch.h"
static int call_run(void* f, msl_launch* l, char* e, uint64_t n, msl_stats* s) { return ((int (*)(msl_launch*, char*, uint64_t, msl_stats*))f)(l, e, n, s); }
static msl_pool* shared_pool(void) { static msl_pool pool; return &pool; }
*/
import "C"

import (
	"fmt"
	"unsafe"

	"github.com/natten-mps/natten-mps/tests/metalsim/compile"
)

func (d *Device) exec(p *Pipeline, given *Arguments, grid, group Size) (st Stats, err error) {
	l := p.lib
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range l.unit.Constants {
		v, e := l.sym(fmt.Sprintf("__msl_fc_%d", k.Index))
		f, e2 := l.sym(fmt.Sprintf("__msl_fcd_%d", k.Index))
		if e != nil || e2 != nil {
			continue // baked in
		}
		C.memset(v, 0, 16)
		b := p.consts[k.Index]
		*(*int32)(f) = 0
		if b != nil {
			copy(unsafe.Slice((*byte)(v), 16), b)
			*(*int32)(f) = 1
		}
	}
	bufs := (*C.msl_buf)(C.calloc(32, C.sizeof_msl_buf))
	tgms := (*C.msl_tgm)(C.calloc(32, C.sizeof_msl_tgm))
	la := (*C.msl_launch)(C.calloc(1, C.sizeof_msl_launch))
	errb := (*C.char)(C.calloc(1, 2048))
	defer func() {
		C.free(unsafe.Pointer(bufs))
		C.free(unsafe.Pointer(tgms))
		C.free(unsafe.Pointer(la))
		C.free(unsafe.Pointer(errb))
	}()
	n := 0
	for i := 0; i < 31; i++ {
		b, ok := given.bufs[i]
		if !ok {
			continue
		}
		x := &unsafe.Slice(bufs, 32)[n]
		n++
		x.index = C.uint32_t(i)
		x.base = (*C.uint8_t)(b.buf.p)
		x.ptr = (*C.uint8_t)(unsafe.Add(b.buf.p, b.off))
		x.len = C.uint64_t(b.buf.n)
		if b.buf.fresh {
			x.flags = C.MSL_UNDEFINED
		}
		x.granule = 4
		for _, a := range p.args {
			if a.Index == i && a.Kind == "buffer" {
				x.granule = C.uint32_t(a.align)
			}
		}
	}
	m := 0
	for i, v := range given.tgm {
		x := &unsafe.Slice(tgms, 32)[m]
		m++
		x.index, x.len = C.uint32_t(i), C.uint32_t(v)
	}
	la.kernel = C.uint32_t(p.index)
	for i, v := range [3]int{grid.X, grid.Y, grid.Z} {
		la.grid[i] = C.uint32_t(v)
	}
	for i, v := range [3]int{group.X, group.Y, group.Z} {
		la.tg[i] = C.uint32_t(v)
	}
	fl := C.MSL_FTZ
	for flag, on := range map[int]bool{C.MSL_REVERSE: d.Reverse, C.MSL_SHUFFLE: d.Shuffle, C.MSL_NOCHECK: d.Mode != Checked} {
		if on {
			fl |= flag
		}
	}
	la.flags, la.seed, la.workers = C.uint32_t(fl), C.uint32_t(d.Seed), C.uint32_t(d.Workers)
	la.nbuf, la.ntgm, la.buf, la.tgm, la.pool = C.uint32_t(n), C.uint32_t(m), bufs, tgms, C.shared_pool()
	var s C.msl_stats
	rc := C.call_run(l.run, la, errb, 2048, &s)
	st.Threads += uint64(s.threads)
	st.Threadgroups += uint64(s.tgs)
	st.Barriers += uint64(s.barriers)
	st.SimdOps += uint64(s.simdops)
	st.Accesses += uint64(s.accesses)
	st.Switches += uint64(s.switches)
	st.ThreadgroupMemory = max(st.ThreadgroupMemory, int(s.tgmem))
	for _, b := range given.bufs {
		b.buf.fresh = false
	}
	if rc != 0 {
		err = fmt.Errorf("%s: %s", p.k.Host, compile.Symbolize(l.so, C.GoString(errb)))
	}
	return st, err
}

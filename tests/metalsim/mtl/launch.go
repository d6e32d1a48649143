// SPDX-License-Identifier: MIT

//go:build cgo

package mtl

// Stats counts what a launch did.
type Stats struct {
	Threads, Threadgroups, Barriers, SimdOps, Accesses, Switches uint64
	ThreadgroupMemory                                            int
}

type binding struct {
	buf *Buffer
	off int
}

// Arguments holds the arguments of a launch. The methods are those of Metal's encoder,
// but check nothing.
type Arguments struct {
	dev  *Device
	bufs map[int]binding
	tgm  map[int]int
	tmp  []*Buffer
}

// SetBuffer binds a buffer at an offset.
func (a *Arguments) SetBuffer(b *Buffer, off, i int) { a.bufs[i] = binding{b, off} }

// SetBytes binds a copy of the bytes.
func (a *Arguments) SetBytes(s []byte, i int) {
	b := a.dev.NewBufferWithBytes(s)
	a.tmp = append(a.tmp, b)
	a.SetBuffer(b, 0, i)
}

// SetThreadgroupMemoryLength sets the size of a threadgroup argument to n bytes.
func (a *Arguments) SetThreadgroupMemoryLength(n, i int) { a.tgm[i] = n }

// Run runs a grid of threads in threadgroups and waits for its end.
func (d *Device) Run(p *Pipeline, grid, group Size, bind func(a *Arguments)) (Stats, error) {
	a := &Arguments{dev: d, bufs: map[int]binding{}, tgm: map[int]int{}}
	bind(a)
	defer func() {
		for _, b := range a.tmp {
			b.Release()
		}
	}()
	return d.exec(p, a, grid, group)
}

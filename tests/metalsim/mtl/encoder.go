// SPDX-License-Identifier: MIT

//go:build cgo

package mtl

import (
	"fmt"
	"time"
)

type binding struct {
	buf *Buffer
	off int
}
type command struct {
	p    *Pipeline
	bufs map[int]binding
	tgm  map[int]int
	grid Size
	tg   Size
	tmp  []*Buffer
}

// Stats is what a command buffer did.
type Stats struct {
	Threads, Threadgroups, Barriers, SimdOps, Accesses, Switches uint64
	ThreadgroupMemory                                            int
	Time                                                         time.Duration
}

// CommandBuffer is a list of dispatches.
type CommandBuffer struct {
	dev   *Device
	cmds  []command
	err   error
	open  bool
	Stats Stats
}

// NewCommandBuffer makes an empty one.
func (d *Device) NewCommandBuffer() *CommandBuffer { return &CommandBuffer{dev: d} }

// Encoder writes dispatches into a command buffer; its methods are Metal's.
type Encoder struct {
	cb   *CommandBuffer
	p    *Pipeline
	bufs map[int]binding
	tgm  map[int]int
	tmp  []*Buffer
	done bool
}

// Encoder opens an encoder; there is one at a time.
func (c *CommandBuffer) Encoder() *Encoder {
	if c.open {
		c.fail("a second encoder before endEncoding")
	}
	c.open = true
	return &Encoder{cb: c, bufs: map[int]binding{}, tgm: map[int]int{}}
}

func (c *CommandBuffer) fail(f string, a ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("validation: "+f, a...)
	}
}

// SetPipeline chooses the kernel.
func (e *Encoder) SetPipeline(p *Pipeline) { e.p = p }

// SetBuffer binds a buffer from off on.
func (e *Encoder) SetBuffer(b *Buffer, off, i int) {
	if b == nil {
		delete(e.bufs, i)
		return
	}
	if i < 0 || i > 30 {
		e.cb.fail("setBuffer: index %d", i)
	}
	if off < 0 || off >= b.n && b.n > 0 {
		e.cb.fail("setBuffer: offset %d in a buffer of %d bytes", off, b.n)
	}
	e.bufs[i] = binding{b, off}
}

// SetBytes binds a copy of at most 4096 bytes.
func (e *Encoder) SetBytes(s []byte, i int) {
	if len(s) > 4096 {
		e.cb.fail("setBytes: %d bytes, the limit is 4096", len(s))
	}
	if len(s) == 0 {
		e.cb.fail("setBytes: no bytes for index %d", i)
		return
	}
	b := e.cb.dev.NewBufferWithBytes(s)
	e.tmp = append(e.tmp, b)
	e.SetBuffer(b, 0, i)
}

// SetThreadgroupMemoryLength gives a threadgroup argument n bytes.
func (e *Encoder) SetThreadgroupMemoryLength(n, i int) {
	if n%16 != 0 {
		e.cb.fail("setThreadgroupMemoryLength: %d is no multiple of 16", n)
	}
	e.tgm[i] = n
}

// DispatchThreadgroups runs n whole threadgroups.
func (e *Encoder) DispatchThreadgroups(n, tg Size) {
	e.DispatchThreads(Size{n.X * tg.X, n.Y * tg.Y, n.Z * tg.Z}, tg)
}

// DispatchThreads runs a grid of threads.
func (e *Encoder) DispatchThreads(grid, tg Size) {
	p := e.p
	if p == nil {
		e.cb.fail("dispatch without a pipeline")
		return
	}
	if e.done {
		e.cb.fail("dispatch after endEncoding")
	}
	name := p.k.Host
	if grid.X < 1 || grid.Y < 1 || grid.Z < 1 || tg.X < 1 || tg.Y < 1 || tg.Z < 1 {
		e.cb.fail("%s: grid %v, threadgroup %v", name, grid, tg)
		return
	}
	if t := tg.X * tg.Y * tg.Z; t > p.MaxTotalThreads {
		e.cb.fail("%s: %d threads a threadgroup, the pipeline takes %d", name, t, p.MaxTotalThreads)
		return
	}
	sum := 0
	for _, a := range p.args {
		if a.Index < 0 {
			continue
		}
		if a.Optional != "" {
			on := false
			for _, c := range p.lib.unit.Constants {
				if c.Name == a.Optional {
					b := p.consts[c.Index]
					on = len(b) > 0 && b[0] != 0
				}
			}
			if !on {
				continue
			}
		}
		if a.Kind == "threadgroup" {
			if e.tgm[a.Index] == 0 {
				e.cb.fail("%s: no length set for threadgroup(%d) %s", name, a.Index, a.Name)
			}
			sum += e.tgm[a.Index]
			continue
		}
		b, ok := e.bufs[a.Index]
		if !ok {
			e.cb.fail("%s: nothing bound at buffer(%d) %s", name, a.Index, a.Name)
			continue
		}
		if b.buf.p == nil {
			e.cb.fail("%s: the buffer at buffer(%d) %s was released", name, a.Index, a.Name)
			continue
		}
		if a.align > 0 && b.off%int(a.align) != 0 {
			e.cb.fail("%s: offset %d at buffer(%d) %s is not aligned to %d", name, b.off, a.Index, a.Name, a.align)
		}
		if a.ref && b.buf.n-b.off < int(a.size) {
			e.cb.fail("%s: buffer(%d) %s has %d bytes, the kernel reads %d", name, a.Index, a.Name, b.buf.n-b.off, a.size)
		}
	}
	if sum > 32<<10 {
		e.cb.fail("%s: %d bytes of threadgroup memory", name, sum)
	}
	c := command{p: p, grid: grid, tg: tg, bufs: map[int]binding{}, tgm: map[int]int{}}
	for k, v := range e.bufs {
		c.bufs[k] = v
	}
	for k, v := range e.tgm {
		c.tgm[k] = v
	}
	e.cb.cmds = append(e.cb.cmds, c)
}

// EndEncoding closes the encoder.
func (e *Encoder) EndEncoding() {
	e.done = true
	e.cb.open = false
	if n := len(e.cb.cmds); n > 0 {
		e.cb.cmds[n-1].tmp = append(e.cb.cmds[n-1].tmp, e.tmp...)
	}
}

// Commit runs what was encoded and waits for it.
func (c *CommandBuffer) Commit() error {
	if c.open {
		c.fail("commit before endEncoding")
	}
	t := time.Now()
	for i := range c.cmds {
		if c.err == nil {
			c.err = c.dev.exec(&c.cmds[i], &c.Stats)
		}
		for _, b := range c.cmds[i].tmp {
			b.Release()
		}
	}
	c.Stats.Time = time.Since(t)
	return c.err
}

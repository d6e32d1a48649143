// SPDX-License-Identifier: MIT

package mtl

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"github.com/natten-mps/natten-mps/tests/metalsim/compile"
	"github.com/natten-mps/natten-mps/tests/metalsim/lower"
)

// With METALSIM_RECORD naming a folder, every dispatch of a Fast device is kept
// there -- what was bound, before and after -- beside its library as PTX, for gpu/replay.py to carry out again on an NVIDIA GPU.
type recBuf struct {
	Index, Offset, Len int
	Type               string
	Write              bool
	ID, Elem           int
}
type recCase struct {
	Name, Unit string
	Kernel     int
	Grid, TG   Size
	Bufs       []recBuf
	TGMem      map[string]int
	CPU        float64 // seconds
}

var recorded int

func literal(t string, b []byte) string {
	u := uint32(0)
	for i := len(b) - 1; i >= 0 && i < 4; i-- {
		u = u<<8 | uint32(b[i])
	}
	switch t {
	case "bool":
		return strconv.FormatBool(u != 0)
	case "float":
		return fmt.Sprintf("%.9ef", math.Float32frombits(u))
	case "uint", "ushort", "uchar":
		return fmt.Sprint(u)
	}
	return fmt.Sprint(int32(u))
}

type recording struct {
	dir  string
	c    recCase
	pre  [][]byte
	bufs []*Buffer
}

func (d *Device) record(c *struct_) *recording {
	dir := os.Getenv("METALSIM_RECORD")
	if dir == "" || d.Mode != Fast {
		return nil
	}
	r := &recording{dir: dir}
	p := c.p
	baked := map[int]string{}
	key := p.lib.flat
	for _, k := range p.lib.unit.Constants {
		b := p.consts[k.Index]
		if b == nil {
			b = []byte{0}
		}
		baked[k.Index] = literal(k.Type, b)
		key += fmt.Sprintf("\n%d=%s", k.Index, baked[k.Index])
	}
	h := sha256.Sum256([]byte(key))
	unit := hex.EncodeToString(h[:6])
	r.c = recCase{Name: p.k.Host, Unit: unit, Kernel: p.index, Grid: c.grid, TG: c.tg, TGMem: map[string]int{}}
	if _, err := os.Stat(filepath.Join(dir, unit+".ptx")); err != nil {
		u, err := lower.Lower(p.lib.flat, lower.Options{File: p.lib.file, Baked: baked, Only: p.lib.only})
		if err == nil {
			err = compile.PTX(u, filepath.Join(dir, unit+".ptx"), d.Loose)
		}
		if err != nil {
			panic(err)
		}
	}
	for _, a := range p.args {
		b, ok := c.bufs[a.Index]
		if a.Kind != "buffer" || !ok {
			continue
		}
		id := len(r.bufs)
		for i, x := range r.bufs {
			if x == b.buf {
				id = i
			}
		}
		if id == len(r.bufs) {
			r.bufs = append(r.bufs, b.buf)
			r.pre = append(r.pre, append([]byte(nil), View[byte](b.buf)...))
		}
		r.c.Bufs = append(r.c.Bufs, recBuf{a.Index, b.off, b.buf.n, a.Type, a.kind == argDevice, id, int(a.size)})
	}
	for i, n := range c.tgm {
		r.c.TGMem[strconv.Itoa(i)] = n
	}
	return r
}

func (r *recording) finish(seconds float64) {
	if r == nil {
		return
	}
	r.c.CPU = seconds
	j, _ := json.Marshal(r.c)
	f, err := os.Create(filepath.Join(r.dir, fmt.Sprintf("%03d-%s.case", recorded, r.c.Name)))
	if err != nil {
		panic(err)
	}
	recorded++
	defer f.Close()
	fmt.Fprintf(f, "%s\n", j)
	for i, b := range r.bufs {
		f.Write(r.pre[i])
		f.Write(View[byte](b))
	}
}

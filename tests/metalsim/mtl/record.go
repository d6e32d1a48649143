// SPDX-License-Identifier: MIT

//go:build cgo

package mtl

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// RecordEnv names a folder that keeps every dispatch, as the simulator's setting
// record does: what was bound, before and after, beside the source, for
// gpu/replay.py. Kernels with function constants or threadgroup arguments are
// left out, which the project's own have not.
const RecordEnv = "METALSIM_RECORD"

type recordedBuffer struct {
	Index   int    `json:"index"`
	Offset  int    `json:"offset"`
	Length  int    `json:"length"`
	Type    string `json:"type"`
	Writes  bool   `json:"writes"`
	ID      int    `json:"id"` // the first of the bindings of one memory
	Element int    `json:"element"`
}

type recordedCase struct {
	Name    string           `json:"name"`
	Unit    string           `json:"unit"` // file name of the source, without .metal
	Kernel  int              `json:"kernel"`
	Grid    [3]int           `json:"grid"` // threads
	Group   [3]int           `json:"group"`
	Buffers []recordedBuffer `json:"buffers"`
}

var recorded int

type recording struct {
	dir, source string
	c           recordedCase
	before      [][]byte
	bufs        []*Buffer
}

func (d *Device) record(c *command) *recording {
	dir, p := os.Getenv(RecordEnv), c.p
	if dir == "" || len(p.lib.unit.Constants) > 0 || len(c.tgm) > 0 {
		return nil
	}
	h := sha256.Sum256([]byte(p.lib.flat))
	r := &recording{dir: dir, source: p.lib.flat}
	r.c = recordedCase{
		Name: p.k.Host, Unit: hex.EncodeToString(h[:8]), Kernel: p.index,
		Grid: [3]int{c.grid.X, c.grid.Y, c.grid.Z}, Group: [3]int{c.tg.X, c.tg.Y, c.tg.Z},
	}
	first := map[*Buffer]int{}
	for _, a := range p.args {
		b, ok := c.bufs[a.Index]
		if a.Kind != "buffer" || !ok {
			continue
		}
		id, known := first[b.buf]
		if !known {
			id = len(r.c.Buffers)
			first[b.buf] = id
			r.bufs = append(r.bufs, b.buf)
			r.before = append(r.before, append([]byte(nil), View[byte](b.buf)...))
		}
		r.c.Buffers = append(r.c.Buffers, recordedBuffer{a.Index, b.off, b.buf.n, a.Type, a.kind == argDevice, id, int(a.size)})
	}
	return r
}

// finish writes the case: a line of JSON, then each memory's bytes before and after.
func (r *recording) finish() error {
	if r == nil {
		return nil
	}
	if err := os.WriteFile(filepath.Join(r.dir, r.c.Unit+".metal"), []byte(r.source), 0o644); err != nil {
		return err
	}
	out, err := json.Marshal(r.c)
	if err != nil {
		return err
	}
	out = append(out, '\n')
	for i, b := range r.bufs {
		out = append(append(out, r.before[i]...), View[byte](b)...)
	}
	name := r.c.Name
	if len(name) > 150 {
		name = name[:150]
	}
	recorded++
	return os.WriteFile(filepath.Join(r.dir, fmt.Sprintf("%d-%05d-%s.case", os.Getpid(), recorded, name)), out, 0o644)
}

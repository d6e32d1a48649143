// SPDX-License-Identifier: MIT

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
)

// array is a tensor in its own memory, with guard words around it.
type array struct {
	words   []uint64
	shape   []int64
	strides [6]int64
	size    int64
	role    core.Role
}

const margin = 8 // words

// newArray makes a dense array, heads first or last, with all bits set, which is NaN.
func newArray(p *core.Problem, role core.Role, headsFirst bool) *array {
	a := &array{role: role, size: p.ElementSize(role), shape: p.Shape(role)}
	order := []int{0, 1, 2, 3, 4, 5}[:len(a.shape)]
	if headsFirst && len(order) >= 5 {
		order = append([]int{0, 4, 1, 2, 3}, order[5:]...)
	}
	elements := int64(1)
	for _, dim := range slices.Backward(order) {
		a.strides[dim] = elements
		elements *= max(a.shape[dim], 1)
	}
	a.words = make([]uint64, 2*margin+(elements*a.size+7)/8)
	for i := range a.words {
		a.words[i] = ^uint64(0)
	}
	return a
}

func (a *array) bytes() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(&a.words[0])), 8*len(a.words))
}

// fill sets the elements to random numbers.
func (a *array) fill(r *rand.Rand, dtype core.DType) {
	p := unsafe.Pointer(&a.words[margin])
	for i := range (len(a.words) - 2*margin) * 8 / int(a.size) {
		at, v := unsafe.Add(p, int64(i)*a.size), r.NormFloat64()
		switch {
		case a.size == 8:
			*(*float64)(at) = v
		case a.size == 4:
			*(*float32)(at) = float32(v)
		case dtype == core.Float16:
			*(*uint16)(at) = core.Float32ToFloat16(float32(v))
		default:
			*(*uint16)(at) = core.Float32ToBFloat16(float32(v))
		}
	}
}

func (a *array) tensor(rank int) cTensor {
	t := cTensor{data: uintptr(unsafe.Pointer(&a.words[margin])), strides: a.strides}
	switch a.role {
	case core.ExtraKey, core.ExtraValue, core.DExtraKey, core.DExtraValue:
	default:
		t.strides = [6]int64{a.strides[0]}
		copy(t.strides[1:], a.strides[4-rank:])
	}
	return t
}

// experiment is a problem with its tensors, ready to run.
type experiment struct {
	engine  engine
	plan    uint64
	info    string
	args    arguments
	arrays  [core.NumRoles]*array
	problem *core.Problem
	sizes   []int64
}

// newExperiment prepares a problem. Its number seeds the choices that the problem
// leaves open.
func newExperiment(l engine, given core.Problem, sizes []int64, number uint64, threads int, some bool) (*experiment, error) {
	p, err := given.Normalize()
	if err != nil {
		return nil, err
	}
	x := &experiment{engine: l, problem: p, sizes: sizes}
	if x.plan, x.info, err = l.plan(&given); err != nil {
		return nil, err
	}
	x.args.numThreads = int32(threads)
	if len(sizes) > 0 {
		x.args.sizes = &sizes[0]
	}
	r := rand.New(rand.NewPCG(number, 71))
	headsFirst := number%2 == 1
	for role := range core.NumRoles {
		if !p.Reads(role) && !p.Writes(role) || some && p.Writes(role) && p.Optional(role) && r.IntN(5) == 0 {
			continue
		}
		x.arrays[role] = newArray(p, role, headsFirst)
		if p.Reads(role) {
			x.arrays[role].fill(r, p.DType)
		}
	}
	if p.Op == core.AttnBackward {
		forward := given
		forward.Op = core.AttnForward
		y := &experiment{engine: l, args: x.args, problem: p}
		if y.plan, _, err = l.plan(&forward); err != nil {
			return nil, err
		}
		y.arrays = x.arrays
		for role := core.DOut; role < core.NumRoles; role++ {
			y.arrays[role] = nil
		}
		if err = y.run(); err != nil {
			return nil, err
		}
		y.close()
	}
	return x, nil
}

func (x *experiment) run() error {
	for role, a := range x.arrays {
		x.args.tensors[role] = cTensor{}
		if a != nil {
			x.args.tensors[role] = a.tensor(x.problem.Rank)
		}
	}
	return x.engine.run(x.plan, &x.args)
}

func (x *experiment) close() { x.engine.destroy(x.plan) }

// digest is a hash of all outputs and the memory around them.
func (x *experiment) digest() string {
	h := sha256.New()
	for role := range core.NumRoles {
		if a := x.arrays[role]; a != nil && x.problem.Writes(role) {
			h.Write(a.bytes())
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// time runs the problem several times. It returns the seconds of the quickest run or,
// with one thread, the processor time of a run in seconds.
func (x *experiment) time(calls int) (best, used float64, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	quickest, before := time.Duration(1<<62), threadTime()
	for range calls {
		start := time.Now()
		if err := x.run(); err != nil {
			return 0, 0, err
		}
		quickest = min(quickest, time.Since(start))
	}
	return quickest.Seconds(), (threadTime() - before).Seconds() / float64(calls), nil
}

// SPDX-License-Identifier: MIT

//go:build cgo

package main

import (
	"bytes"
	"fmt"
	"unsafe"

	"github.com/ebitengine/purego"

	"github.com/natten-mps/natten-mps/core"
)

// Structs of the header.
type (
	cError struct {
		size             uint64
		status, reserved int32
		message          [2032]byte
	}
	cAxis struct {
		length, kernel, dilation, stride, queryStep int64
		causal, reserved                            int32
	}
	cProblem struct {
		size                                     uint64
		op, dtype, rank, flags, memory, reserved int32
		batch, heads, kvHeads                    int64
		headDim, valueDim, extra                 int64
		scale                                    float64
		axes                                     [3]cAxis
	}
	cPlanInfo struct {
		size         uint64
		scratchBytes int64
		backend      [16]byte
		variant      [224]byte
	}
)

// library is an opened library.
type library struct {
	create   func(p *cProblem, backend *byte, plan *uint64, e *cError) int32
	planInfo func(plan uint64, info *cPlanInfo, e *cError) int32
	execute  func(plan uint64, a *arguments, e *cError) int32
	drop     func(plan uint64, e *cError) int32
}

func open(path string) (engine, error) {
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, err
	}
	l := &library{}
	purego.RegisterLibFunc(&l.create, handle, "natten_mps_plan_create")
	purego.RegisterLibFunc(&l.planInfo, handle, "natten_mps_plan_info_get")
	purego.RegisterLibFunc(&l.execute, handle, "natten_mps_run")
	purego.RegisterLibFunc(&l.drop, handle, "natten_mps_plan_destroy")
	return l, nil
}

func text(b []byte) string {
	before, _, _ := bytes.Cut(b, []byte{0})
	return string(before)
}

// call converts a status to an error.
func call(f func(e *cError) int32) error {
	e := &cError{size: uint64(unsafe.Sizeof(cError{}))}
	if status := f(e); status != 0 {
		return fmt.Errorf("status %d: %s", status, text(e.message[:]))
	}
	return nil
}

var native = [...]byte{'n', 'a', 't', 'i', 'v', 'e', 0}

func (l *library) plan(p *core.Problem) (plan uint64, about string, err error) {
	c := problemStruct(p)
	if err = call(func(e *cError) int32 { return l.create(c, &native[0], &plan, e) }); err != nil {
		return 0, "", err
	}
	info := &cPlanInfo{size: uint64(unsafe.Sizeof(cPlanInfo{}))}
	err = call(func(e *cError) int32 { return l.planInfo(plan, info, e) })
	return plan, fmt.Sprint(info.scratchBytes, " ", text(info.variant[:])), err
}

func (l *library) run(plan uint64, a *arguments) error {
	a.size = uint64(unsafe.Sizeof(*a))
	return call(func(e *cError) int32 { return l.execute(plan, a, e) })
}

func (l *library) destroy(plan uint64) {
	_ = call(func(e *cError) int32 { return l.drop(plan, e) })
}

// Flags of a problem.
const (
	flagScale = 1 << iota
	flagRPB
	flagRagged
	flagMaskFirst
)

func problemStruct(p *core.Problem) *cProblem {
	c := &cProblem{
		size: uint64(unsafe.Sizeof(cProblem{})), op: int32(p.Op), dtype: int32(p.DType), rank: int32(p.Rank),
		batch: p.Batch, heads: p.Heads, kvHeads: p.KVHeads,
		headDim: p.HeadDim, valueDim: p.ValueDim, extra: p.Extra, scale: p.Scale,
	}
	for i, set := range []bool{p.HasScale, p.RPB, p.Ragged, p.Axes[0].MaskFirst} {
		if set {
			c.flags |= flagScale << i
		}
	}
	for i, a := range p.Axes[:p.Rank] {
		c.axes[i] = cAxis{length: a.Length, kernel: a.Kernel, dilation: a.Dilation, stride: a.Stride, queryStep: a.QueryStep}
		if a.Causal {
			c.axes[i].causal = 1
		}
	}
	return c
}

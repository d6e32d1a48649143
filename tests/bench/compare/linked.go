// SPDX-License-Identifier: MIT

//go:build !cgo

package main

import (
	"fmt"
	"unsafe"

	"github.com/natten-mps/natten-mps/core"
	"github.com/natten-mps/natten-mps/core/cpu"
)

// linked is the engine of the sources from which this program was built. Such a program
// runs under an emulator and needs no other file of its architecture.
type linked struct{ plans []*core.Plan }

func open(string) (engine, error) { return &linked{}, nil }

func (l *linked) plan(p *core.Problem) (plan uint64, info string, err error) {
	x, err := core.NewPlan([]core.Backend{cpu.New()}, core.Auto, *p)
	if err != nil {
		return 0, "", err
	}
	l.plans = append(l.plans, x)
	return uint64(len(l.plans) - 1), fmt.Sprint(x.ScratchBytes(), " ", x.Variant()), nil
}

func (l *linked) run(plan uint64, a *arguments) error {
	p := l.plans[plan]
	b := &core.Buffers{Threads: int(a.numThreads)}
	if a.sizes != nil {
		b.Sizes = unsafe.Slice(a.sizes, p.Problem.Batch*int64(p.Problem.Rank))
	}
	for role := range b.Tensors {
		b.Tensors[role] = *(*core.Tensor)(unsafe.Pointer(&a.tensors[role]))
	}
	return p.Run(b)
}

func (l *linked) destroy(plan uint64) { l.plans[plan] = nil }

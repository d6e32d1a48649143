// SPDX-License-Identifier: MIT

//go:build cgo

package mtl

import (
	"fmt"
	"math"
	"math/rand"
	"path/filepath"
	"strings"
	"testing"

	"github.com/natten-mps/natten-mps/tests/metalsim/compile"
)

func kernelFile(n string) string { return filepath.Join("..", "kernels", n) }

func lib(t testing.TB, d *Device, file string) *Library {
	t.Helper()
	l, err := d.NewLibrary(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range l.Warnings {
		t.Log("warning:", w)
	}
	return l
}

func pipe(t testing.TB, d *Device, l *Library, name string, c map[int]any) *Pipeline {
	t.Helper()
	p, err := d.NewPipeline(l, name, c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func f16(x float32) uint16 { // round to nearest even
	b := math.Float32bits(x)
	s := uint16(b >> 16 & 0x8000)
	e := int(b>>23&0xff) - 127
	m := b & 0x7fffff
	switch {
	case e > 15:
		return s | 0x7c00
	case e < -24:
		return s
	case e < -14:
		m |= 0x800000
		sh := uint(-14 - e + 13)
		r := m >> sh
		if rem, half := m&(1<<sh-1), uint32(1)<<(sh-1); rem > half || rem == half && r&1 == 1 {
			r++
		}
		return s | uint16(r)
	}
	r := uint32(e+15)<<10 | m>>13
	if rem := m & 0x1fff; rem > 0x1000 || rem == 0x1000 && r&1 == 1 {
		r++
	}
	return s | uint16(r)
}

func f32(h uint16) float32 {
	s, e, m := uint32(h&0x8000)<<16, uint32(h>>10&31), uint32(h&0x3ff)
	switch {
	case e == 31:
		return math.Float32frombits(s | 0x7f800000 | m<<13)
	case e == 0:
		return math.Float32frombits(s) + float32(m)*float32(math.Ldexp(1, -24))*map[bool]float32{true: -1, false: 1}[s != 0]
	}
	return math.Float32frombits(s | (e+112)<<23 | m<<13)
}

func TestGemm(t *testing.T) {
	for _, mode := range []compile.Mode{Checked, Fast} {
		d := NewDevice()
		d.Mode = mode
		l := lib(t, d, kernelFile("gemm.metal"))
		t.Log(l.Functions())
		M, N, K := 50, 70, 40
		for _, name := range []string{"gemm_f32", "gemm_f16", "gemm_f16_f32", "gemm_bf16_f32"} {
			p := pipe(t, d, l, name, map[int]any{0: true, 1: float32(0.5)})
			r := rand.New(rand.NewSource(1))
			a, b := make([]float32, M*K), make([]float32, K*N)
			enc := func(x []float32) *Buffer {
				h := make([]uint16, len(x))
				for i := range x {
					x[i] = r.Float32() - 0.5
					switch {
					case strings.Contains(name, "bf16"):
						h[i] = uint16(math.Float32bits(x[i]) >> 16)
						x[i] = math.Float32frombits(uint32(h[i]) << 16)
					case strings.Contains(name, "f16"):
						h[i] = f16(x[i])
						x[i] = f32(h[i])
					}
				}
				if name == "gemm_f32" {
					return d.NewBufferWithBytes(Bytes(x))
				}
				return d.NewBufferWithBytes(Bytes(h))
			}
			ba, bb := enc(a), enc(b)
			half := name == "gemm_f16"
			bc := d.NewBuffer(M * N * map[bool]int{true: 2, false: 4}[half])
			stats, err := d.Run(p, Size{(N + 31) / 32 * 128, (M + 31) / 32, 1}, Size{128, 1, 1}, func(e *Arguments) {
				e.SetBuffer(ba, 0, 0)
				e.SetBuffer(bb, 0, 1)
				e.SetBuffer(bc, 0, 2)
				e.SetBytes(Bytes([]uint32{uint32(M), uint32(N), uint32(K)}), 3)
			})
			if err != nil {
				t.Fatal(err)
			}
			worst := 0.0
			for i := 0; i < M; i++ {
				for j := 0; j < N; j++ {
					s := 0.0
					for k := 0; k < K; k++ {
						s += float64(a[i*K+k]) * float64(b[k*N+j])
					}
					var got float32
					if half {
						got = f32(View[uint16](bc)[i*N+j])
					} else {
						got = View[float32](bc)[i*N+j]
					}
					if e := math.Abs(float64(got) - s*0.5); !(e <= worst) {
						worst = e
					}
				}
			}
			tol := map[bool]float64{true: 1e-3, false: 2e-6}[half]
			t.Logf("mode %d %s: max error %.2e, %+v", mode, name, worst, stats)
			if !(worst < tol) {
				t.Errorf("%s: error %g", name, worst)
			}
		}
	}
}

func run1(d *Device, l *Library, name string, grid, tg Size, bind func(e *Arguments)) (Stats, error) {
	p, err := d.NewPipeline(l, name, nil)
	if err != nil {
		return Stats{}, err
	}
	return d.Run(p, grid, tg, bind)
}

func TestBugsAreCaught(t *testing.T) {
	d := NewDevice()
	l := lib(t, d, kernelFile("bugs.metal"))
	one := func(n int32) func(e *Arguments) {
		return func(e *Arguments) {
			e.SetBuffer(d.NewBuffer(128*4), 0, 0)
			e.SetBytes(Bytes([]int32{n}), 1)
		}
	}
	two := func(e *Arguments) {
		e.SetBuffer(d.NewBufferWithBytes(make([]byte, 128*4)), 0, 0)
		e.SetBuffer(d.NewBuffer(128*4), 0, 1)
	}
	g, w := Size{128, 1, 1}, Size{64, 1, 1}
	for _, c := range []struct {
		name, want string
		grid, tg   Size
		bind       func(e *Arguments)
	}{
		{"oob_read", "out of bounds", g, w, two},
		{"oob_write", "out of bounds", g, w, two},
		{"missing_barrier", "", g, w, one(1)},
		{"wrong_flag", "no barrier between that has mem_threadgroup", g, w, one(1)},
		{"sg_barrier_only", "", g, w, one(1)},
		{"write_after_read", "data race", g, w, one(1)},
		{"device_race", "", g, w, func(e *Arguments) { e.SetBuffer(d.NewBufferWithBytes(make([]byte, 512)), 0, 0) }},
		{"cross_group_race", "of another threadgroup", g, w, one(1)},
		{"uninit_tile", "uninitialized", g, w, one(1)},
		{"divergent_barrier", "divergence", g, w, one(1)},
		{"divergent_simd", "divergence", g, w, one(1)},
		{"early_return", "has returned", g, w, one(100)},
		{"private_overflow", "private", g, w, one(6)},
		{"tile_overflow", "array", g, w, one(1)},
		{"tile_pointer", "out of bounds", g, w, one(1)},
		{"misaligned", "misaligned", g, w, two},
		{"shuffle_inactive", "not active", Size{20, 1, 1}, Size{20, 1, 1}, one(1)},
		{"big_tile", "threadgroup memory", g, w, one(1)},
		{"int_overflow", "overflow", g, w, one(30000)},
		{"uninit_out", "uninitialized", g, w, one(1)},
		{"spin_unrelated", "-", g, w, one(1)},
	} {
		_, err := run1(d, l, c.name, c.grid, c.tg, c.bind)
		t.Logf("%-18s %v", c.name, err)
		if c.want == "-" {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

func TestSimdOps(t *testing.T) {
	for _, mode := range []compile.Mode{Checked, Fast} {
		d := NewDevice()
		d.Mode = mode
		d.Shuffle = true
		l := lib(t, d, kernelFile("features.metal"))
		n := 96 + 32
		in := make([]float32, n)
		r := rand.New(rand.NewSource(2))
		for i := range in {
			in[i] = r.Float32()
		}
		out := d.NewBuffer(n * 4)
		stats, err := run1(d, l, "simd_ops", Size{n, 1, 1}, Size{64, 1, 1}, func(e *Arguments) { e.SetBuffer(d.NewBufferWithBytes(Bytes(in)), 0, 0); e.SetBuffer(out, 0, 1) })
		if err != nil {
			t.Fatal(err)
		}
		for i := range in {
			x := in[i/32*32 : i/32*32+32]
			ln := i % 32
			sum, mx, mn, cnt, pre := 0.0, -1e9, 1e9, 0.0, 0.0
			for j, v := range x {
				sum += float64(v)
				mx, mn = math.Max(mx, float64(v)), math.Min(mn, float64(v))
				if v > 0.5 {
					cnt++
				}
				if j < ln {
					pre += float64(v)
				}
			}
			dn, up := ln+1, ln-2
			if dn > 31 {
				dn = ln
			}
			if up < 0 {
				up = ln
			}
			w := sum + 2*mx - mn + float64(x[ln^5]+x[31-ln]) + float64(x[dn])*0.5 + float64(x[up])*0.25 +
				2*pre + float64(x[ln]) + float64(x[7]+x[0]) + sum + 96 + 1 + 0 + cnt
			if g := View[float32](out)[i]; math.Abs(float64(g)-w) > 1e-3 {
				t.Fatalf("lane %d: %g, want %g", i, g, w)
			}
		}
		t.Logf("%+v", stats)
	}
}

func TestHistogramAndRowSum(t *testing.T) {
	for _, mode := range []compile.Mode{Checked, Fast} {
		d := NewDevice()
		d.Mode = mode
		l := lib(t, d, kernelFile("features.metal"))
		n := 1000
		in := make([]uint32, n)
		want := [16]uint32{}
		tot := 0.0
		for i := range in {
			in[i] = uint32(i*7919) >> 3 & 31
			want[in[i]&15]++
			tot += float64(in[i])
		}
		out, total := d.NewBufferWithBytes(make([]byte, 64)), d.NewBufferWithBytes(make([]byte, 4))
		_, err := run1(d, l, "histogram", Size{n, 1, 1}, Size{96, 1, 1}, func(e *Arguments) {
			e.SetBuffer(d.NewBufferWithBytes(Bytes(in)), 0, 0)
			e.SetBuffer(out, 0, 1)
			e.SetBuffer(total, 0, 2)
			e.SetBytes(Bytes([]uint32{uint32(n)}), 3)
			e.SetThreadgroupMemoryLength(64, 0)
		})
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(View[uint32](out)) != fmt.Sprint(want[:]) || float64(View[float32](total)[0]) != tot {
			t.Fatal(View[uint32](out), want, View[float32](total), tot)
		}
		rows, cols := 3, 300
		h := make([]uint16, rows*cols)
		sums := make([]float64, rows)
		for i := range h {
			h[i] = f16(float32(i%17) * 0.125)
			sums[i/cols] += float64(f32(h[i]))
		}
		ro := d.NewBuffer(rows * 4)
		_, err = run1(d, l, "row_sum", Size{rows * 128, 1, 1}, Size{128, 1, 1}, func(e *Arguments) {
			e.SetBuffer(d.NewBufferWithBytes(Bytes(h)), 0, 0)
			e.SetBuffer(ro, 0, 1)
			e.SetBytes(Bytes([]int32{int32(cols)}), 2)
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range sums {
			if math.Abs(float64(View[float32](ro)[i])-s) > 1e-3 {
				t.Fatal(i, View[float32](ro)[i], s)
			}
		}
	}
}

func TestVectors(t *testing.T) {
	for _, c := range []struct {
		mode compile.Mode
		use  bool
	}{{Checked, false}, {Checked, true}, {Fast, false}, {Fast, true}} {
		d, use := NewDevice(), c.use
		d.Mode = c.mode
		l := lib(t, d, kernelFile("vectors.metal"))
		p := pipe(t, d, l, "vectors", map[int]any{2: use})
		in := []float32{0.1, 0.9, 0.6, 0.3, 1.5, -2, 0.5, 4}
		bias := []float32{10, 20}
		pk := []float32{1, 2, 3, 4, 5, 6}
		// struct Params { int n; float2 ab; packed_float3 p; }: offsets 0, 8, 16
		q := make([]byte, 32)
		copy(q[8:], Bytes([]float32{2, 3, 0.5, 0.25, 0.125}))
		out, hout := d.NewBuffer(32), d.NewBuffer(16)
		_, err := d.Run(p, Size{2, 1, 1}, Size{2, 1, 1}, func(e *Arguments) {
			e.SetBuffer(d.NewBufferWithBytes(Bytes(in)), 0, 0)
			e.SetBuffer(out, 0, 1)
			e.SetBytes(q, 2)
			if use {
				e.SetBytes(Bytes(bias), 3)
			}
			e.SetBuffer(d.NewBufferWithBytes(Bytes(pk)), 0, 4)
			e.SetBuffer(hout, 0, 5)
		})
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < 2; i++ {
			v := in[4*i : 4*i+4]
			ab := []float32{2, 3, 1, 2}
			var w [4]float64
			for k := range w {
				w[k] = float64(v[3-k]*2 + ab[k])
			}
			w[0] += []float64{1, 2}[i]
			w[2]++
			for k := range w {
				if v[k] > 0.5 {
					w[k] = -w[k]
				}
			}
			w[3] = float64(pk[3*i]*0.5+pk[3*i+1]*0.25+pk[3*i+2]*0.125) + 1
			for k := range w {
				x := float64(v[k])
				w[k] += math.Trunc(x*3) + x*x + w[k] + math.Max(x, 0.25)
				if use {
					w[k] += float64(bias[i])
				}
				if g := View[float32](out)[4*i+k]; math.Abs(float64(g)-w[k]) > 1e-4 {
					t.Errorf("use %v: out[%d][%d] = %g, want %g", use, i, k, g, w[k])
				}
				if g := f32(View[uint16](hout)[4*i+k]); math.Abs(float64(g)-w[k]/2) > 2e-2 {
					t.Errorf("use %v: hout[%d][%d] = %g, want %g", use, i, k, g, w[k]/2)
				}
			}
		}
	}
}

func TestOrders(t *testing.T) {
	// every order of lanes, simdgroups and threadgroups gives the same result
	for _, o := range []struct{ rev, shuf bool }{{false, false}, {true, false}, {false, true}} {
		d := NewDevice()
		d.Reverse, d.Shuffle, d.Seed = o.rev, o.shuf, 7
		l := lib(t, d, kernelFile("bugs.metal"))
		out := d.NewBuffer(512)
		if _, err := run1(d, l, "spin_unrelated", Size{128, 1, 1}, Size{64, 1, 1}, func(e *Arguments) { e.SetBuffer(out, 0, 0) }); err != nil {
			t.Fatal(err)
		}
		for i, v := range View[float32](out) {
			if v != float32(63-i%64) {
				t.Fatal(o, i, v)
			}
		}
		if _, err := run1(d, l, "missing_barrier", Size{128, 1, 1}, Size{64, 1, 1}, func(e *Arguments) { e.SetBuffer(out, 0, 0) }); err == nil {
			t.Error("missing barrier not seen", o)
		}
	}
}

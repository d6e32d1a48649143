// SPDX-License-Identifier: MIT

//go:build cgo

package metal

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/natten-mps/natten-mps/core"
)

// variantOf returns the kernel names of a problem with cubic windows.
func variantOf(t *testing.T, op core.Op, dtype core.DType, rank int, kernel, dim, step int64) string {
	t.Helper()
	p := core.Problem{Op: op, DType: dtype, Memory: core.Metal, Rank: rank, Batch: 1, Heads: 1, HeadDim: dim}
	for i := range rank {
		p.Axes[i] = core.Axis{Length: 32, Kernel: kernel, QueryStep: step}
	}
	r, _ := runnerFor(t, p)
	return r.Variant()
}

func TestTuningChoosesDesigns(t *testing.T) {
	forward, backward := core.AttnForward, core.AttnBackward
	for _, c := range []struct{ got, want string }{
		{variantOf(t, forward, core.Float32, 1, 7, 64, 1), "attn_fwd_f32_v4_d64_e64_g8_r14_a1_k2"},
		{variantOf(t, forward, core.Float16, 1, 7, 64, 1), "attn_fwd_f16_v8_d64_e64_g8_r14_a1_k4"},
		{variantOf(t, forward, core.Float32, 2, 7, 64, 1), "attn_fwd_f32_v4_d64_e64_g8_r22_a2_k2"},
		{variantOf(t, forward, core.BFloat16, 2, 7, 64, 1), "attn_fwd_bf16_v8_d64_e64_g8_r22_a2_k4"},
		{variantOf(t, forward, core.Float32, 2, 7, 64, 2), "attn_fwd_f32_v4_d64_e64_g8_r11_a2_k2"},
		{variantOf(t, forward, core.Float32, 2, 11, 64, 1), "attn_fwd_mat_f32_v4_d64_e64_b124"},
		{variantOf(t, forward, core.Float32, 2, 11, 12, 1), "attn_fwd_f32_v4_d12_e12_g4_r22_a2_k2"},
		{variantOf(t, forward, core.Float32, 2, 11, 256, 1), "attn_fwd_f32_v4_d256_e256_g32_r22_a2_k2"},
		{variantOf(t, forward, core.Float32, 2, 11, 64, 2), "attn_fwd_f32_v4_d64_e64_g8_r11_a2_k2"},
		{variantOf(t, forward, core.Float32, 3, 3, 32, 1), "attn_fwd_f32_v4_d32_e32_g4_r22_a3_k2"},
		{variantOf(t, forward, core.Float32, 3, 7, 32, 1), "attn_fwd_mat_f32_v4_d32_e32_b222"},
		{variantOf(t, forward, core.Float32, 1, 3, 1000, 1), "attn_fwd_f32_v4_d1000_e1000_g32_r11_a1_k2"},
		{variantOf(t, forward, core.Float16, 1, 7, 32, 1), "attn_fwd_f16_v8_d32_e32_g4_r12_a1_k2"},
		{variantOf(t, backward, core.Float32, 1, 7, 64, 1), "attn_bwd_strip_f32_v4_d64_e64_g8"},
		{variantOf(t, backward, core.Float32, 1, 7, 8, 1), "attn_bwd_strip_f32_v4_d8_e8_g4"},
		{variantOf(t, backward, core.Float32, 1, 15, 64, 1), "attn_bwd_q_f32_v4_d64_e64_g8_r14_a1 attn_bwd_kv_f32_v4_d64_e64_g8_r12_a1"},
		{variantOf(t, backward, core.Float32, 2, 7, 64, 1), "attn_bwd_q_f32_v4_d64_e64_g8_r22_a2 attn_bwd_kv_f32_v4_d64_e64_g8_r21_a2"},
		{variantOf(t, backward, core.Float16, 3, 7, 64, 1), "attn_bwd_q_mat_f16_v8_d64_e64_b222 attn_bwd_kv_mat_f16_v8_d64_e64_b222"},
	} {
		require.Equal(t, c.want, c.got)
	}
}

// A GPU gets the last row that is not newer than it.
func TestTuningRows(t *testing.T) {
	last := tunings[len(tunings)-1]
	require.Equal(t, &tunings[0], tuningFor(0))
	require.Equal(t, last, *tuningFor(99))
	for i := 1; i < len(tunings); i++ {
		require.Less(t, tunings[i-1].generation, tunings[i].generation)
	}
}

// SPDX-License-Identifier: MIT

package exported

import (
	"debug/elf"
	"os"
	"regexp"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func declared(t *testing.T) []string {
	t.Helper()
	header, err := os.ReadFile("../../include/natten_mps.h")
	require.NoError(t, err)
	var names []string
	for _, match := range regexp.MustCompile(`NATTEN_MPS_API[^;(]*?\s\*?(natten_mps_\w+)\(`).FindAllSubmatch(header, -1) {
		names = append(names, string(match[1]))
	}
	slices.Sort(names)
	return names
}

func TestEveryDeclaredFunctionIsDrivenHere(t *testing.T) {
	var driven []string
	for name := range functions {
		driven = append(driven, name)
	}
	slices.Sort(driven)
	require.Equal(t, declared(t), driven)
}

func TestNothingElseIsExported(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads ELF; the Mach-O library is checked by its own script")
	}
	file, err := elf.Open(libraryPath())
	require.NoError(t, err)
	defer func() { require.NoError(t, file.Close()) }()
	symbols, err := file.DynamicSymbols()
	require.NoError(t, err)
	var exported []string
	for _, s := range symbols {
		if s.Section != elf.SHN_UNDEF {
			exported = append(exported, s.Name)
		}
	}
	slices.Sort(exported)
	require.Equal(t, declared(t), exported)
}

// SPDX-License-Identifier: MIT

//go:build cgo

package mtl

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The shim's compiler accepts and refuses the same kernels as Apple's. The list is
// reject/expectations.tsv, which names the source of each verdict.
func TestCorpus(t *testing.T) {
	list, err := os.ReadFile("../reject/expectations.tsv")
	require.NoError(t, err)
	rows := strings.Split(strings.TrimSpace(string(list)), "\n")[1:]
	for _, row := range rows {
		fields := strings.Split(row, "\t")
		name, expected := fields[0], fields[1]
		t.Run(strings.TrimSuffix(name, ".metal"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(filepath.Join("../reject", name))
			require.NoError(t, err)
			_, err = NewDevice().NewLibraryFromSource(name, string(text))
			if expected == "accept" {
				require.NoError(t, err)
				return
			}
			require.Error(t, err, "taken; Apple's compiler refuses it: %s", fields[3])
			t.Log(firstError(err.Error()))
		})
	}
}

// firstError returns the line with the error in a compiler's message.
func firstError(text string) string {
	for line := range strings.SplitSeq(text, "\n") {
		if strings.Contains(line, "error:") {
			return line
		}
	}
	return text
}

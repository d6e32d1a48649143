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

// TestCorpus: the shim's compiler takes and refuses what Apple's does, by the list
// of reject/expectations.tsv, which names the source of each verdict.
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

// firstError returns the line of a compiler's message that has the error.
func firstError(text string) string {
	for line := range strings.SplitSeq(text, "\n") {
		if strings.Contains(line, "error:") {
			return line
		}
	}
	return text
}

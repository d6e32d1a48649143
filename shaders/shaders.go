// SPDX-License-Identifier: MIT

// Package shaders embeds the Metal sources. They contain templates, and one appended
// line instantiates each kernel.
package shaders

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"
)

//go:embed *.metal *.h
var files embed.FS

// Files returns the embedded sources, for tools.
func Files() fs.FS { return files }

// Source returns one self-contained MSL text: the file of a kernel family with its
// includes expanded, followed by one line per instance, which instantiates a template
// under the instance's name.
func Source(family string, instances ...Instance) (string, error) {
	var text strings.Builder
	if err := flatten(&text, family+".metal", map[string]bool{}); err != nil {
		return "", err
	}
	for _, i := range instances {
		fmt.Fprintf(&text, "template [[host_name(%q)]] [[kernel]] decltype(%s) %s;\n", i.Name, i.Template, i.Template)
	}
	return text.String(), nil
}

// Instance is a kernel name and the template with its arguments, such as
// attn_fwd<float, int, 64>.
type Instance struct{ Name, Template string }

func flatten(text *strings.Builder, name string, done map[string]bool) error {
	if done[name] {
		return nil
	}
	done[name] = true
	source, err := files.ReadFile(name)
	if err != nil {
		return fmt.Errorf("shaders: %w", err)
	}
	for line := range strings.Lines(string(source)) {
		if include, ok := strings.CutPrefix(line, `#include "`); ok {
			if err := flatten(text, strings.TrimRight(include, "\"\n"), done); err != nil {
				return err
			}
		} else if !strings.HasPrefix(line, "#pragma once") {
			text.WriteString(line)
		}
	}
	return nil
}

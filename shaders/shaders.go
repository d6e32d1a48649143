// SPDX-License-Identifier: MIT

// Package shaders holds the Metal sources: templates, which one appended line
// instantiates.
package shaders

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"
)

//go:embed *.metal *.h
var files embed.FS

// Files lists the embedded sources, for tools.
func Files() fs.FS { return files }

// Source returns one self-contained text: the kernel family's file with its
// includes in place, and a line for each instance, a template with its arguments
// by the name that it gets.
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

// Instance is a kernel made of a template, such as attn_fwd<float, int, 64>.
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

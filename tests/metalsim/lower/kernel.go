// SPDX-License-Identifier: MIT

package lower

import (
	"fmt"
	"strconv"
	"strings"
)

// instantiation handles  template [[host_name("x")]] [[kernel]] void f<T>(...);
// and the decltype(f<T>) f<T> form.
func (l *lowerer) instantiation(i int) (int, error) {
	end := i
	for !l.is(end, ";") {
		if end++; end >= len(l.t) {
			return 0, l.fail(i, "instantiation does not end")
		}
	}
	m, at, err := l.attrs(i + 1)
	if err != nil {
		return 0, err
	}
	isK := false
	for l.is(at, "kernel") || l.is(at, "[") {
		if l.is(at, "kernel") {
			isK = true
			l.blank(at, at+1)
			at = l.sig(at + 1)
			continue
		}
		m2, n, err := l.attrs(at)
		if err != nil {
			return 0, err
		}
		for k, v := range m2 {
			m[k] = v
		}
		at = n
	}
	if _, ok := m["kernel"]; !ok && !isK {
		return i, nil // another kind of instantiation
	}
	decl := l.is(at, "decltype")
	j := at
	if decl {
		e, err := l.match(l.sig(at + 1))
		if err != nil {
			return 0, err
		}
		j = l.sig(e + 1)
	} else {
		j = l.sig(at + 1) // void
	}
	name := l.t[j].Text
	lt := l.sig(j + 1)
	if !l.is(lt, "<") {
		return 0, l.fail(j, "kernel instantiation not understood")
	}
	gt, err := l.match(lt)
	if err != nil {
		return 0, err
	}
	k, ok := l.tmpl[name]
	if !ok {
		return 0, l.fail(j, "%s is no kernel template seen before", name)
	}
	k.Func = name + l.text(lt, gt+1)
	k.Host = m["host_name"]
	if k.Host == "" {
		return 0, l.fail(j, "instantiation of %s without host_name", name)
	}
	k.template = false
	for _, o := range l.u.Kernels {
		if o.Host == k.Host {
			return 0, l.fail(j, "two kernels are called %q", k.Host)
		}
	}
	l.u.Kernels = append(l.u.Kernels, k)
	if decl {
		l.blank(i, end+1)
	} else {
		l.blank(i+1, at)
	}
	return end, nil
}

func (l *lowerer) kernel(decl, i int) error {
	k := Kernel{File: l.t[i].File, Line: l.t[i].Line}
	// the name is the identifier before the first ( outside [[ ]] and < >
	open := -1
	name := -1
	m := map[string]string{}
	for j := decl; j < len(l.t); j++ {
		if l.t[j].Kind == Space {
			continue
		}
		if l.is(j, "[") && l.is(j+1, "[") {
			m2, n, err := l.attrs(j)
			if err != nil {
				return err
			}
			for a, v := range m2 {
				m[a] = v
			}
			j = n - 1
			continue
		}
		if l.is(j, "template") {
			k.template = true
		}
		if l.is(j, "<") {
			e, err := l.match(j)
			if err != nil {
				return err
			}
			j = e
			continue
		}
		if l.t[j].Kind == Ident {
			name = j
		}
		if l.is(j, "(") {
			open = j
			break
		}
		if l.is(j, ";") || l.is(j, "{") {
			return nil
		}
	}
	if open < 0 {
		return l.fail(i, "kernel not understood")
	}
	end, err := l.match(open)
	if err != nil {
		return err
	}
	if l.is(l.sig(end+1), ";") {
		return nil // a declaration
	}
	if !strings.Contains(" "+l.text(decl, name)+" ", " void ") {
		return l.fail(i, "error: a kernel function returns void: %s", l.t[name].Text)
	}
	l.u.Places[fmt.Sprintf("%s %s:%d", l.t[name].Text, l.t[name].File, l.t[name].Line)] = true
	for a := range m {
		if a != "kernel" && a != "host_name" && a != "max_total_threads_per_threadgroup" {
			l.warn(i, "kernel attribute %s is not known here", a)
		}
	}
	k.Func, k.Host = l.t[name].Text, l.t[name].Text
	if h := m["host_name"]; h != "" {
		k.Host = h
	}
	if v := m["max_total_threads_per_threadgroup"]; v != "" {
		if k.MaxTotal, err = strconv.Atoi(v); err != nil {
			k.MaxTotal = 0 // an expression
		} else if k.MaxTotal <= 0 {
			return l.fail(i, "error: max_total_threads_per_threadgroup(%s): want a positive number", v)
		}
	}
	if k.Args, err = l.params(open, end); err != nil {
		return err
	}
	if err := l.check(i, k); err != nil {
		return err
	}
	if k.template {
		l.tmpl[k.Func] = k
		return nil
	}
	l.u.Kernels = append(l.u.Kernels, k)
	return nil
}

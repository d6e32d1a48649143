// SPDX-License-Identifier: MIT

package shell

import (
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// mac is a copy of the tree on a fake Mac. PATH has the tools of a Mac, which refuse
// GNU's options; compilers, Go and Python only record that they were called.
type mac struct {
	t                     *testing.T
	tree, bin, log, trace string
}

// has lists the programs that work, and those that only record that they were called.
var (
	has = strings.Fields("awk basename cat chmod cksum cmp comm cp cut date diff dirname env find git grep gzip " +
		"head id install ln ls mkdir mktemp mv rm sed sh sort tail tar touch tr wc xargs uname")
	called = strings.Fields("go gofmt python3 cc gcc g++ clang clang++ nm pkg-config cmake clang-format shellcheck swift")
)

// newMac copies the tracked files. NATTEN_TEST_BASH32 names a bash 3.2; without it, this
// machine's bash runs with the features that 3.2 lacks disabled.
func newMac(t *testing.T) *mac {
	t.Helper()
	folder := t.TempDir()
	m := &mac{t, filepath.Join(folder, "tree"), filepath.Join(folder, "bin"), filepath.Join(folder, "log"), filepath.Join(folder, "trace")}
	real := filepath.Join(folder, "real")
	for _, path := range []string{m.tree, m.bin, real} {
		require.NoError(t, os.Mkdir(path, 0o755))
	}
	bash := os.Getenv("NATTEN_TEST_BASH32")
	if bash == "" {
		bash = m.find("bash")
	}
	require.NoError(t, os.Symlink(bash, filepath.Join(m.bin, "bash")))
	body, err := os.ReadFile("testdata/stub")
	require.NoError(t, err)
	stub := "#!" + m.find("bash") + " -p\nSTUBS='" + m.bin + "' REAL='" + real + "' STUB_LOG='" + m.log + "' INSTALLED='" + m.installed() + "'\n" + string(body)
	for _, name := range append(append([]string{}, has...), called...) {
		require.NoError(t, os.WriteFile(filepath.Join(m.bin, name), []byte(stub), 0o755))
	}
	for _, name := range has {
		require.NoError(t, os.Symlink(m.find(name), filepath.Join(real, name)))
	}
	m.copyTree()
	return m
}

var inEnvironment = regexp.MustCompile(`\.venv/bin/([a-z]+)`)

// installed lists the programs that the scripts expect in .venv.
func (m *mac) installed() string {
	m.t.Helper()
	names := map[string]bool{}
	for _, path := range scripts(m.t) {
		text, err := os.ReadFile(filepath.Join(root, path))
		require.NoError(m.t, err)
		for _, found := range inEnvironment.FindAllStringSubmatch(string(text), -1) {
			names[found[1]] = true
		}
	}
	delete(names, "python")
	return strings.Join(slices.Collect(maps.Keys(names)), " ")
}

func (m *mac) find(name string) string {
	m.t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		m.t.Skipf("%s is needed", name)
	}
	return path
}

// copyTree copies what git would commit, except the large recordings, into a new
// repository.
func (m *mac) copyTree() {
	m.t.Helper()
	command := exec.Command("sh", "-c", `git ls-files -co --exclude-standard -- ':!tests/golden' | tar -cf - -T - | tar -xf - -C "$1"
		cd "$1" && git init -q && git add -A && git -c user.name=t -c user.email=t@t commit -q -m tree`, "sh", m.tree)
	command.Dir = root
	out, err := command.CombinedOutput()
	if err != nil {
		m.t.Skipf("no git, no tree to copy: %v\n%s", err, out)
	}
}

// run calls a script of the tree and returns its output and status.
func (m *mac) run(script string, args ...string) (text string, status int) {
	m.t.Helper()
	limit, err := filepath.Abs("testdata/limit.bash")
	require.NoError(m.t, err)
	command := exec.Command("bash", append([]string{filepath.Join(m.tree, script)}, args...)...)
	command.Path = filepath.Join(m.bin, "bash")
	command.Dir = m.tree
	command.Env = []string{"PATH=" + m.bin, "HOME=" + m.tree, "BASH_ENV=" + limit, "SHELL_TRACE=" + m.trace, "TMPDIR=" + m.t.TempDir()}
	out, err := command.CombinedOutput()
	exit := new(exec.ExitError)
	if !errors.As(err, &exit) {
		require.NoError(m.t, err)
		return string(out), 0
	}
	return string(out), exit.ExitCode()
}

// calls returns the lines of the log since the last call.
func (m *mac) calls() string {
	m.t.Helper()
	text, err := os.ReadFile(m.log)
	require.NoError(m.t, err)
	require.NoError(m.t, os.WriteFile(m.log, nil, 0o644))
	return string(text)
}

// TestDarwin runs, with the tools of a Mac, every function of every script that is not
// marked as Linux only.
func TestDarwin(t *testing.T) {
	if testing.Short() {
		t.Skip("a quarter of a minute of shell")
	}
	m := newMac(t)
	t.Run("StandInsRefuse", m.requireRefusals)
	t.Run("GPU", m.requireGPU)
	for _, args := range []string{
		"setup", "build", "demo", "bench", "bench call", "fuzz 1", "install prefix", "wheel", "sdist", "release", "fmt", "slow", "check", "help", "clean",
	} {
		text, status := m.run("build.sh", strings.Fields(args)...)
		require.Zero(t, status, "build.sh %s:\n%s", args, text)
		require.NotContains(t, text, "command not found", args)
	}
	for _, args := range []string{"wheel dist/x.whl", "clone"} {
		text, status := m.run("tests/packages/newcomer.sh", strings.Fields(args)...)
		assert.Zero(t, status, "newcomer.sh %s:\n%s", args, text)
	}
	for _, args := range []string{"mutate", "shadercov", "bench gpu", "no-such-verb", "install"} {
		text, status := m.run("build.sh", strings.Fields(args)...)
		assert.Equal(t, 2, status, "build.sh %s:\n%s", args, text)
		assert.Contains(t, text, "build.sh: ", args)
	}
	m.requireAllEntered()
}

// requireAllEntered compares the functions that ran with those that exist.
func (m *mac) requireAllEntered() {
	m.t.Helper()
	trace, err := os.ReadFile(m.trace)
	require.NoError(m.t, err)
	entered := map[string]bool{}
	for line := range strings.SplitSeq(string(trace), "\n") {
		path, name, _ := strings.Cut(line, " ")
		entered[filepath.Base(path)+" "+name] = true
	}
	for _, path := range scripts(m.t) {
		text, err := os.ReadFile(filepath.Join(root, path))
		require.NoError(m.t, err)
		for _, f := range functions(string(text)) {
			if f.name != "" {
				assert.Equal(m.t, !f.linux, entered[filepath.Base(path)+" "+f.name], "%s of %s: entered on a Mac", f.name, path)
			}
		}
	}
}

// requireGPU checks that `test` runs on the GPU and that its steps need nothing that a
// Mac lacks.
func (m *mac) requireGPU(t *testing.T) {
	m.calls()
	text, status := m.run("build.sh", "test")
	require.Zero(t, status, text)
	calls := m.calls()
	for _, wanted := range []string{
		"go test -shuffle=on -timeout 60m ./tests/metal ./metalrt ./core/metal\n", "-install_name,@rpath/libnatten_mps.dylib",
		"python -m pytest -q -n auto --maxprocesses 4 --dist worksteal -m not slow tests/python\n", "python -m pytest -q tests/python/test_metal.py\n",
	} {
		assert.True(t, strings.Contains(calls, wanted), "%s is missing:\n%s", wanted, calls)
	}
	for _, needsLinux := range []string{"simbuild", "./tests/metalsim", " tests/metalsim/python", "--version-script"} {
		assert.False(t, strings.Contains(calls, needsLinux), "%s is there:\n%s", needsLinux, calls)
	}
}

// requireRefusals checks that the stand-ins detect what they are made to detect.
func (m *mac) requireRefusals(t *testing.T) {
	for _, line := range []string{
		"mapfile -t x < <(echo 1)", "declare -A x; echo", "cp --parents a b", "echo | xargs -r -d '\\n' echo", "sha256sum x", "sed -i s/a/b/ x", "nproc",
		"go run ./tests/metalsim/cmd/simbuild",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(m.tree, "line.sh"), []byte("set -e\n"+line+"\n"), 0o644))
		text, status := m.run("line.sh")
		assert.NotZero(t, status, "%s:\n%s", line, text)
	}
}

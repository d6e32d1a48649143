module github.com/natten-mps/natten-mps

go 1.26

require (
	github.com/ebitengine/purego v0.11.3
	github.com/stretchr/testify v1.12.1
	github.com/x448/float16 v0.8.4
	golang.org/x/sys v0.42.0
)

require go.yaml.in/yaml/v3 v3.0.5 // indirect

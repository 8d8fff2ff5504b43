package admin

import (
	_ "embed"
	"encoding"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"openimds/internal/instance"
)

// comments are those of the types that documents are made of: package.Type and
// package.Type.key. A test writes them.
//
//go:embed comments.json
var comments []byte

var readComments = sync.OnceValues(func() (map[string]string, error) {
	all := map[string]string{}
	if err := json.Unmarshal(comments, &all); err != nil {
		return nil, fmt.Errorf("read comments of types: %w", err)
	}
	return all, nil
})

// OpenAPI returns the description of all routes, as OpenAPI 3.1.
func OpenAPI() (map[string]any, error) {
	docs, err := readComments()
	if err != nil {
		return nil, err
	}
	s := &schemas{docs: docs, all: map[string]any{}, names: map[reflect.Type]string{}}
	paths := map[string]map[string]any{}
	for _, r := range routes() {
		if paths[r.path] == nil {
			paths[r.path] = map[string]any{}
		}
		paths[r.path][strings.ToLower(r.method)] = s.operation(r)
	}
	return map[string]any{
		"openapi": "3.1.0",
		"info": map[string]any{
			"title": "openimds admin API", "version": "v1",
			"description": "The operator's API, on the control address. It answers only requests whose Host is an IP address or localhost and that carry no Origin. Unknown members and parameters are refused.",
			"license":     map[string]any{"name": "Apache-2.0", "identifier": "Apache-2.0"},
		},
		"servers": []any{map[string]any{"url": "http://127.0.0.1:8180"}},
		"paths":   paths,
		"components": map[string]any{
			"schemas": s.all,
			"securitySchemes": map[string]any{
				"token": map[string]any{"type": "http", "scheme": "bearer", "description": "The admin token, where the server has one."},
			},
			"responses": map[string]any{
				"error": map[string]any{"description": "What was wrong", "content": jsonContent(s.of(reflect.TypeFor[problem]()))},
			},
		},
	}, nil
}

func jsonContent(schema any) map[string]any {
	return map[string]any{"application/json": map[string]any{"schema": schema}}
}

var pathParam = regexp.MustCompile(`\{([a-z]+)\}`)

func (s *schemas) operation(r route) map[string]any {
	op := map[string]any{"operationId": r.id, "summary": r.doc}
	params := []any{}
	for _, m := range pathParam.FindAllStringSubmatch(r.path, -1) {
		params = append(params, map[string]any{"name": m[1], "in": "path", "required": true, "schema": map[string]any{"type": "string"}})
	}
	for _, p := range r.params {
		schema := map[string]any{"type": "string"}
		if p.words != nil {
			schema["enum"] = p.words
		}
		if p.many {
			schema = map[string]any{"type": "array", "items": schema}
		}
		params = append(params, map[string]any{"name": p.name, "in": "query", "description": p.doc, "schema": schema})
	}
	for _, p := range r.headers {
		params = append(params, map[string]any{"name": p.name, "in": "header", "description": p.doc, "schema": map[string]any{"type": "string"}})
	}
	if len(params) > 0 {
		op["parameters"] = params
	}
	if r.in != nil {
		op["requestBody"] = map[string]any{"required": true, "content": jsonContent(s.of(r.in))}
	}
	answers := map[string]any{}
	ok := map[string]any{"description": "Success"}
	switch {
	case r.media != "":
		content := map[string]any{}
		if len(r.outs) > 0 {
			content = jsonContent(s.anyOf(r.outs))
		}
		content[r.media] = map[string]any{"schema": map[string]any{"type": "string"}}
		ok["content"] = content
	case len(r.outs) > 0:
		ok["content"] = jsonContent(s.anyOf(r.outs))
	}
	answers["200"] = ok
	if strings.HasPrefix(r.id, "put") {
		created := map[string]any{"description": "It did not exist before", "content": ok["content"]}
		answers[strconv.Itoa(http.StatusCreated)] = created
	}
	if !r.open {
		answers["default"] = map[string]any{"$ref": "#/components/responses/error"}
		op["security"] = []any{map[string]any{}, map[string]any{"token": []any{}}}
	}
	op["responses"] = answers
	return op
}

// schemas are the JSON Schemas of types, named ones by reference.
type schemas struct {
	docs  map[string]string
	all   map[string]any
	names map[reflect.Type]string
}

// anyOf is the schema of an answer that has one of several types. An interface
// stands for those beside it.
func (s *schemas) anyOf(types []reflect.Type) any {
	var all []any
	for _, t := range types {
		if t.Kind() != reflect.Interface {
			all = append(all, s.of(t))
		}
	}
	if len(all) == 1 {
		return all[0]
	}
	return map[string]any{"oneOf": all}
}

var (
	timeType     = reflect.TypeFor[time.Time]()
	durationType = reflect.TypeFor[time.Duration]()
	rawType      = reflect.TypeFor[json.RawMessage]()
	bytesType    = reflect.TypeFor[[]byte]()
	policyType   = reflect.TypeFor[PolicyText]()
	textType     = reflect.TypeFor[encoding.TextMarshaler]()
)

func (s *schemas) of(t reflect.Type) any {
	if t.Kind() == reflect.Pointer {
		return s.of(t.Elem())
	}
	switch t {
	case timeType:
		return map[string]any{"type": "string", "format": "date-time"}
	case durationType:
		return map[string]any{"type": "string", "description": "A duration, such as 90s or 1h30m."}
	case bytesType:
		return map[string]any{"type": "string"} // as config.Bytes writes them
	case rawType:
		return s.document()
	case policyType:
		return map[string]any{"type": []any{"object", "string"}}
	}
	if t.Implements(textType) {
		return map[string]any{"type": "string"}
	}
	switch t.Kind() {
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return map[string]any{"type": "integer"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": s.of(t.Elem())}
	case reflect.Map:
		if t.Elem().Kind() == reflect.Interface {
			return map[string]any{"type": "object"}
		}
		return map[string]any{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.Struct:
		if t.Name() == "" {
			return s.structure(t)
		}
		return s.named(t)
	}
	panic("admin: the description has no words for the type " + t.String())
}

// document is the schema of a document of any kind.
func (s *schemas) document() any {
	var all []any
	for _, k := range kinds() {
		all = append(all, s.of(k.typ))
	}
	return map[string]any{"oneOf": all}
}

func (s *schemas) named(t reflect.Type) any {
	name, known := s.names[t]
	if !known {
		name = strings.ToUpper(t.Name()[:1]) + t.Name()[1:]
		if _, taken := s.all[name]; taken || t.PkgPath() != reflect.TypeFor[problem]().PkgPath() {
			name = title(path(t)) + name
		}
		s.names[t] = name
		s.all[name] = nil // it may mention itself
		schema := s.structure(t)
		if doc := s.docs[path(t)+"."+t.Name()]; doc != "" {
			schema["description"] = doc
		}
		s.all[name] = schema
	}
	return map[string]any{"$ref": "#/components/schemas/" + name}
}

// path is the name of the package of a type.
func path(t reflect.Type) string { return t.PkgPath()[strings.LastIndex(t.PkgPath(), "/")+1:] }

func (s *schemas) structure(t reflect.Type) map[string]any {
	properties, required := map[string]any{}, []any{}
	s.members(t, properties, &required)
	schema := map[string]any{"type": "object", "properties": properties}
	if len(required) > 0 {
		schema["required"] = required
	}
	return schema
}

// members adds those of a struct; its own take the place of embedded ones.
func (s *schemas) members(t reflect.Type, properties map[string]any, required *[]any) {
	for f := range t.Fields() {
		if f.Anonymous {
			s.members(f.Type, properties, required)
		}
	}
	for f := range t.Fields() {
		key, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous || key == "" || key == "-" {
			continue
		}
		schema := s.of(f.Type)
		if doc := s.docs[path(t)+"."+t.Name()+"."+key]; doc != "" && t.Name() != "" {
			if ref, ok := schema.(map[string]any); ok {
				ref["description"] = doc
			}
		}
		properties[key] = schema
		// What only answers have is not asked for.
		if options == "" && key != "kind" && key != "status" && t != reflect.TypeFor[instance.Credentials]() {
			*required = append(*required, key)
		}
	}
}

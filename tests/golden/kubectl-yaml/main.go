// Says what a scalar of YAML becomes in a field of a Kubernetes object: decoded as kubectl does, then as the API server does.
//
//	go mod init answers && go get k8s.io/api@v0.34.1 k8s.io/apimachinery@v0.34.1 && go mod tidy
//	go run . < cases.jsonl > answers.jsonl
//
// One JSON object a line: {"kind": "Pod", "text": "…"} in; {"typed": …} or {"error": "…"} out.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	apijson "sigs.k8s.io/json"
)

func decode(kind, text string) (any, error) {
	raw := runtime.RawExtension{}
	if err := utilyaml.NewYAMLOrJSONDecoder(bytes.NewBufferString(text), 4096).Decode(&raw); err != nil {
		return nil, err
	}
	var unstructured any
	if err := apijson.UnmarshalCaseSensitivePreserveInts(raw.Raw, &unstructured); err != nil {
		return nil, err
	}
	sent, err := json.Marshal(unstructured)
	if err != nil {
		return nil, err
	}
	typed := map[string]any{"Pod": &corev1.Pod{}, "Service": &corev1.Service{}, "Deployment": &appsv1.Deployment{}}[kind]
	if typed == nil {
		return nil, errors.New("unknown kind " + kind)
	}
	_, err = apijson.UnmarshalStrict(sent, typed)
	return typed, err
}

func main() {
	lines, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var in struct{ Kind, Text string }
		if err := lines.Decode(&in); err == io.EOF {
			return
		} else if err != nil {
			panic(err)
		}
		answer := map[string]any{}
		if typed, err := decode(in.Kind, in.Text); err != nil {
			answer["error"] = err.Error()
		} else {
			answer["typed"] = typed
		}
		if err := out.Encode(answer); err != nil {
			panic(err)
		}
	}
}

// Prints the fields of the kinds that podwire reads, {kind: type} and {type: {field: type of what is in it, or ""}}, as JSON:
// emulator/objects/fields.json.
//
//	go mod init fields && go get k8s.io/api@v0.34.1 && go mod tidy && go run .
package main

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

var table = map[string]map[string]string{}

func inner(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	return t
}

// name returns the table's name of a type, "" for what has no fields of its own (maps, scalars, what decodes itself).
func name(t reflect.Type) string {
	t = inner(t)
	if t.Kind() != reflect.Struct {
		return ""
	}
	if _, own := reflect.PointerTo(t).MethodByName("UnmarshalJSON"); own {
		return ""
	}
	parts := strings.Split(t.PkgPath(), "/")
	full := t.Name()
	if len(parts) > 1 && parts[len(parts)-2] != "core" {
		full = parts[len(parts)-2] + "." + t.Name()
	}
	if _, known := table[full]; !known {
		table[full] = map[string]string{}
		add(full, t)
	}
	return full
}

func add(full string, t reflect.Type) {
	for i := 0; i < t.NumField(); i++ {
		field := t.Field(i)
		tag := strings.Split(field.Tag.Get("json"), ",")[0]
		if tag == "-" {
			continue
		}
		if tag == "" && field.Anonymous {
			add(full, inner(field.Type))
			continue
		}
		table[full][tag] = name(field.Type)
	}
}

func main() {
	roots := map[string]any{
		"Node": corev1.Node{}, "Namespace": corev1.Namespace{}, "Pod": corev1.Pod{}, "Service": corev1.Service{},
		"Endpoints": corev1.Endpoints{}, "ReplicationController": corev1.ReplicationController{}, "Deployment": appsv1.Deployment{},
		"ReplicaSet": appsv1.ReplicaSet{}, "StatefulSet": appsv1.StatefulSet{}, "DaemonSet": appsv1.DaemonSet{},
		"Job": batchv1.Job{}, "CronJob": batchv1.CronJob{}, "EndpointSlice": discoveryv1.EndpointSlice{},
	}
	kinds := map[string]string{}
	for kind, value := range roots {
		kinds[kind] = name(reflect.TypeOf(value))
	}
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	if err := out.Encode(map[string]any{"kinds": kinds, "types": table}); err != nil {
		panic(err)
	}
}

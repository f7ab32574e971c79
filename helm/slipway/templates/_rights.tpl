{{/*
What worker and scaler may do, each right once. The roles and the admission policy are made from these lists. `look` is
what they need everywhere, `change` what they need where applications are.
*/}}

{{/* The watches: rollouts of all environments, which host names are taken, and what others have changed. */}}
{{- define "slipway.rights.worker.look" -}}
- apiGroups: [apps]
  resources: [deployments, replicasets]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [pods, services, serviceaccounts]
  verbs: [list, watch]
- apiGroups: [networking.k8s.io]
  resources: [ingresses]
  verbs: [list, watch]
{{- end -}}

{{/*
Secrets are applied and deleted, never read. (An apply answers with the object, so a right to patch is one to read;
hence `rbac.confine`.) The inventory is a ConfigMap that is written by compare-and-swap, which is an update.
*/}}
{{- define "slipway.rights.worker.change" -}}
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [ingresses]
  verbs: [get, create, patch, delete]
- apiGroups: [""]
  resources: [services, serviceaccounts]
  verbs: [get, create, patch, delete]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, create, update, delete]
- apiGroups: [""]
  resources: [secrets]
  verbs: [create, patch, delete]
- apiGroups: [""]
  resources: [events]
  verbs: [list]
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
{{- end -}}

{{/* Namespaces are made and removed only where they need not be listed. Takes the root. */}}
{{- define "slipway.rights.worker.namespaces" -}}
- apiGroups: [""]
  resources: [namespaces]
  {{- if eq .Values.rbac.scope "cluster" }}
  verbs: [get, create, delete]
  {{- else }}
  resourceNames: {{ toJson .Values.rbac.namespaces }}
  verbs: [get]
  {{- end }}
{{- end -}}

{{/*
What a scaler measures and sees. A right to get nodes/proxy is one to ask a kubelet for anything, a shell in a container
included; hence it is given only when asked for. Takes the root.
*/}}
{{- define "slipway.rights.scaler.look" -}}
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [metrics.k8s.io]
  resources: [pods]
  verbs: [get, list]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [list]
{{- if .Values.scaler.kubeletMetrics }}
- apiGroups: [""]
  resources: [nodes/proxy]
  verbs: [get]
{{- end }}
{{- end -}}

{{- define "slipway.rights.scaler.change" -}}
- apiGroups: [apps]
  resources: [deployments/scale]
  verbs: [get, update, patch]
{{- end -}}

{{/* A role, and its binding to the account of a component. Takes `root`, `component`, `namespace` (empty: all), `rules`. */}}
{{- define "slipway.grant" -}}
{{- $kind := ternary "Role" "ClusterRole" (ne .namespace "") -}}
{{- $name := include "slipway.clusterName" . -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}
metadata:
  name: {{ $name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "slipway.labels" . | nindent 4 }}
rules:
  {{- .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}Binding
metadata:
  name: {{ $name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "slipway.labels" . | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $kind }}
  name: {{ $name }}
subjects:
  - kind: ServiceAccount
    name: {{ include "slipway.component" . }}
    namespace: {{ .root.Release.Namespace }}
{{- end -}}

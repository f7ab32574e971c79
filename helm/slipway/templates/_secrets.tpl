{{/* Secrets that the chart makes once. */}}

{{- define "slipway.sealingKeySecret" -}}
{{- .Values.sealingKey.existingSecret | default (printf "%s-sealing-key" (include "slipway.fullname" .)) -}}
{{- end -}}

{{- define "slipway.firstTokenSecret" -}}
{{- .Values.firstToken.existingSecret | default (printf "%s-first-token" (include "slipway.fullname" .)) -}}
{{- end -}}

{{/*
A Secret with one value, which is made once: what the cluster has is kept. Where the cluster is not asked, as by
`helm template`, every rendering has another value; so the Secret is immutable, and applying such a rendering over it
fails instead of replacing a key or a password that is in use.
Takes a dict of `root`, `component`, `name`, `key` and `fresh`, the value for the first time.
*/}}
{{- define "slipway.generatedSecret" -}}
{{- $known := lookup "v1" "Secret" .root.Release.Namespace .name | default dict -}}
apiVersion: v1
kind: Secret
metadata:
  name: {{ .name }}
  labels:
    {{- include "slipway.labels" . | nindent 4 }}
  {{- if .root.Values.keepGeneratedSecrets }}
  annotations:
    helm.sh/resource-policy: keep
  {{- end }}
type: Opaque
immutable: true
data:
  {{ .key }}: {{ dig "data" .key (b64enc .fresh) $known }}
{{- end -}}

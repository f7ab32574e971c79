{{/* Names and labels. Helpers take the root, or a dict of `root` and `component`. */}}

{{- define "slipway.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Short enough for a label even with the longest component behind it. */}}
{{- define "slipway.fullname" -}}
{{- $name := include "slipway.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Name of an object of one component. */}}
{{- define "slipway.component" -}}
{{- printf "%s-%s" (include "slipway.fullname" .root) .component -}}
{{- end -}}

{{/* Name of an object outside of namespaces: two releases of one name must not share it. */}}
{{- define "slipway.clusterName" -}}
{{- printf "%s.%s" (include "slipway.component" .) .root.Release.Namespace -}}
{{- end -}}

{{/* What selects all pods of the release. */}}
{{- define "slipway.releaseLabels" -}}
app.kubernetes.io/name: {{ include "slipway.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* What selects the pods of one component. */}}
{{- define "slipway.selectorLabels" -}}
{{ include "slipway.releaseLabels" .root }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Labels of an object. */}}
{{- define "slipway.labels" -}}
{{ include "slipway.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: slipway
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* An image by digest, or by tag. Takes a dict of `image` and `tag`, the tag when none is given. */}}
{{- define "slipway.image" -}}
{{- $tag := default .tag .image.tag -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else if has $tag (list "" "latest") -}}
{{- fail (printf "the image %s needs a tag that does not move, or a digest" .image.repository) -}}
{{- else -}}
{{- printf "%s:%s" .image.repository $tag -}}
{{- end -}}
{{- end -}}

{{/* Values as TOML. Helm's own `toToml` writes every number with a fraction, which no setting takes. */}}

{{/* A table: its plain values, then its sub-tables. Takes a dict of `table` and `path`, its name in TOML. */}}
{{- define "slipway.toml.table" -}}
{{- $path := .path -}}
{{- $table := .table -}}
{{- $tables := list -}}
{{- $lines := list -}}
{{- range $key := keys $table | sortAlpha -}}
{{- $value := get $table $key -}}
{{- if kindIs "map" $value -}}
{{- $tables = append $tables $key -}}
{{- else if not (kindIs "invalid" $value) -}}
{{- $lines = append $lines (printf "%s = %s" (include "slipway.toml.key" $key) (include "slipway.toml.value" $value)) -}}
{{- end -}}
{{- end -}}
{{- if and $path (or $lines (not $tables)) }}
[{{ $path }}]
{{ end -}}
{{- range $lines -}}
{{ . }}
{{ end -}}
{{- range $key := $tables -}}
{{- $name := include "slipway.toml.key" $key -}}
{{- $below := ternary (printf "%s.%s" $path $name) $name (ne $path "") -}}
{{- include "slipway.toml.table" (dict "table" (get $table $key) "path" $below) -}}
{{- end -}}
{{- end -}}

{{- define "slipway.toml.key" -}}
{{- if regexMatch "^[A-Za-z0-9_-]+$" . }}{{ . }}{{ else }}{{ include "slipway.toml.text" . }}{{ end -}}
{{- end -}}

{{/* A number is what it is in the values; Helm reads whole ones as floating-point numbers. */}}
{{- define "slipway.toml.value" -}}
{{- if kindIs "map" . -}}
{{- $pairs := list -}}
{{- range $key := keys . | sortAlpha -}}
{{- $pairs = append $pairs (printf "%s = %s" (include "slipway.toml.key" $key) (include "slipway.toml.value" (get $ $key))) -}}
{{- end -}}
{ {{- join ", " $pairs -}} }
{{- else if kindIs "slice" . -}}
{{- $items := list -}}
{{- range . }}{{ $items = append $items (include "slipway.toml.value" .) }}{{ end -}}
[{{- join ", " $items -}}]
{{- else if kindIs "float64" . -}}
{{- if eq (float64 (int64 .)) . }}{{ int64 . }}{{ else }}{{ . }}{{ end -}}
{{- else if kindIs "string" . -}}
{{- include "slipway.toml.text" . -}}
{{- else -}}
{{- . -}}
{{- end -}}
{{- end -}}

{{/* A string of JSON is one of TOML. */}}
{{- define "slipway.toml.text" -}}
{{- toRawJson . -}}
{{- end -}}

{{/* Parts of the network policies. */}}

{{/* Ports as a policy lists them, as JSON. */}}
{{- define "slipway.network.ports" -}}
{{- $ports := list -}}
{{- range . }}{{ $ports = append $ports (dict "protocol" "TCP" "port" (int .)) }}{{ end -}}
{{- toJson $ports -}}
{{- end -}}

{{/* Who may reach a component. Takes a dict of `root` and `component`. */}}
{{- define "slipway.network.ingress" -}}
{{- $net := .root.Values.networkPolicy -}}
{{- if eq .component "api" -}}
- ports: {{ include "slipway.network.ports" (list 8640) }}
{{- with $net.apiFrom }}
  from:
    {{- toYaml . | nindent 4 }}
    # `helm test`, and the Prometheus of `metricsFrom`.
    {{- if $.root.Values.tests.enabled }}
    - podSelector:
        matchLabels:
          {{- include "slipway.selectorLabels" (dict "root" $.root "component" "test") | nindent 10 }}
    {{- end }}
    {{- with $net.metricsFrom }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}
{{- else if or $net.metricsFrom .root.Values.serviceMonitor.enabled -}}
- ports: {{ include "slipway.network.ports" (list 8641) }}
  from:
    {{- $net.metricsFrom | default (list (dict "namespaceSelector" dict)) | toYaml | nindent 4 }}
{{- else -}}
[]
{{- end }}
{{- end -}}

{{/* RabbitMQ and Redis. Takes the root. */}}
{{- define "slipway.network.services" -}}
{{- $net := .Values.networkPolicy -}}
{{- if .Values.rabbitmq.enabled -}}
- ports: {{ include "slipway.network.ports" (list 5672) }}
  to:
    - podSelector:
        matchLabels:
          {{- include "slipway.selectorLabels" (dict "root" . "component" "rabbitmq") | nindent 10 }}
{{- else -}}
{{- $ports := list -}}
{{- range .Values.broker.urls }}{{ $ports = append $ports (include "slipway.network.port" (dict "url" . "amqp" 5672 "amqps" 5671)) }}{{ end -}}
- ports: {{ include "slipway.network.ports" (uniq $ports) }}
{{- with $net.brokerTo }}
  to:
    {{- toYaml . | nindent 4 }}
{{- end }}
{{- end }}
{{ if .Values.redis.enabled -}}
- ports: {{ include "slipway.network.ports" (list 6379) }}
  to:
    - podSelector:
        matchLabels:
          {{- include "slipway.selectorLabels" (dict "root" . "component" "redis") | nindent 10 }}
{{- else -}}
{{- $ports := list -}}
{{- if .Values.redis.sentinels -}}
{{- range .Values.redis.sentinels }}{{ $ports = append $ports (regexFind "[0-9]+$" .) }}{{ end -}}
{{- range $net.redisPorts }}{{ $ports = append $ports (toString .) }}{{ end -}}
{{- else -}}
{{- $ports = list (include "slipway.network.port" (dict "url" .Values.redis.url "redis" 6379 "rediss" 6379)) -}}
{{- end -}}
- ports: {{ include "slipway.network.ports" (uniq $ports) }}
{{- with $net.redisTo }}
  to:
    {{- toYaml . | nindent 4 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The port of an address, or that of its scheme. Takes a dict of `url` and the ports by scheme. */}}
{{- define "slipway.network.port" -}}
{{- $url := urlParse .url -}}
{{- regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (get . $url.scheme | toString) -}}
{{- end -}}

{{/* Every address but these. Takes blocks of addresses. */}}
{{- define "slipway.network.anywhereBut" -}}
{{- $four := list -}}
{{- $six := list -}}
{{- range . -}}
{{- if contains ":" . }}{{ $six = append $six . }}{{ else }}{{ $four = append $four . }}{{ end -}}
{{- end -}}
- ipBlock: {{ dict "cidr" "0.0.0.0/0" "except" $four | toJson }}
- ipBlock: {{ dict "cidr" "::/0" "except" $six | toJson }}
{{- end -}}

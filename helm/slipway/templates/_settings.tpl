{{/* slipway.toml: what the chart sets itself, and `config` and `targets` of the values beside it. */}}

{{/* Where secrets and certificates are mounted. */}}
{{- define "slipway.secretFolder" -}}/etc/slipway/secrets{{- end -}}

{{/* What the chart sets itself: setting, and the value to use instead. */}}
{{- define "slipway.owned" -}}
server.listen: listenAddress
health.listen: listenAddress
data.dir: nothing; it is the pod's volume
secrets.key_file: sealingKey
auth.first_token_file: firstToken
broker.urls: broker.urls
broker.username: broker.username
broker.password_file: broker.passwordSecret
broker.ca_file: broker.caSecret
redis.url: redis.url
redis.sentinels: redis.sentinels
redis.master_name: redis.masterName
redis.username: redis.username
redis.password_file: redis.passwordSecret
redis.ca_file: redis.caSecret
scaler.kubelet_metrics: scaler.kubeletMetrics
{{- end -}}

{{/* Refuses what contradicts itself. */}}
{{- define "slipway.check" -}}
{{- range $setting, $instead := include "slipway.owned" . | fromYaml -}}
{{- $path := splitList "." $setting -}}
{{- if hasKey (get $.Values.config (first $path) | default dict) (last $path) -}}
{{- fail (printf "config.%s is set by the chart; use %s" $setting $instead) -}}
{{- end -}}
{{- end -}}
{{- if hasKey .Values.config "kubernetes" -}}
{{- fail "config.kubernetes is set by the chart; use targets.kubernetes" -}}
{{- end -}}
{{- include "slipway.checkBroker" . -}}
{{- include "slipway.checkRedis" . -}}
{{- end -}}

{{- define "slipway.checkBroker" -}}
{{- if .Values.rabbitmq.enabled -}}
{{- if .Values.broker.urls }}{{ fail "rabbitmq.enabled and broker.urls exclude each other" }}{{ end -}}
{{- else -}}
{{- if not .Values.broker.urls }}{{ fail "say where RabbitMQ is with broker.urls, or set rabbitmq.enabled=true for trying out" }}{{ end -}}
{{- if not .Values.broker.passwordSecret.name }}{{ fail "broker.passwordSecret.name must name the Secret with the password of RabbitMQ" }}{{ end -}}
{{- if not .Values.broker.username }}{{ fail "broker.username must name the user of RabbitMQ" }}{{ end -}}
{{- end -}}
{{- end -}}

{{- define "slipway.checkRedis" -}}
{{- if ne (empty .Values.redis.sentinels) (empty .Values.redis.masterName) -}}
{{- fail "redis.sentinels and redis.masterName belong together" -}}
{{- end -}}
{{- if .Values.redis.enabled -}}
{{- if or .Values.redis.url .Values.redis.sentinels .Values.redis.username -}}
{{- fail "redis.enabled excludes redis.url, redis.sentinels and redis.username" -}}
{{- end -}}
{{- else -}}
{{- if not .Values.redis.url }}{{ fail "say where Redis is with redis.url (with Sentinel also redis.sentinels), or set redis.enabled=true for trying out" }}{{ end -}}
{{- if not .Values.redis.passwordSecret.name }}{{ fail "redis.passwordSecret.name must name the Secret with the password of Redis" }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* The settings of the chart itself, as YAML. */}}
{{- define "slipway.ownSettings" -}}
{{- $files := include "slipway.secretFolder" . -}}
server:
  listen: {{ printf "%s:8640" .Values.listenAddress | quote }}
health:
  listen: {{ printf "%s:8641" .Values.listenAddress | quote }}
data:
  dir: /var/lib/slipway
secrets:
  key_file: {{ $files }}/sealing-key
auth:
  first_token_file: {{ $files }}/first-token
broker:
  urls: {{ include "slipway.brokerUrls" . }}
  username: {{ ternary "slipway" .Values.broker.username .Values.rabbitmq.enabled | quote }}
  password_file: {{ $files }}/broker-password
  {{- if .Values.broker.caSecret.name }}
  ca_file: {{ $files }}/broker-ca.crt
  {{- end }}
redis:
  url: {{ include "slipway.redisUrl" . | quote }}
  {{- with .Values.redis.sentinels }}
  sentinels: {{ toJson . }}
  {{- end }}
  {{- with .Values.redis.masterName }}
  master_name: {{ . | quote }}
  {{- end }}
  {{- with .Values.redis.username }}
  username: {{ . | quote }}
  {{- end }}
  password_file: {{ $files }}/redis-password
  {{- if .Values.redis.caSecret.name }}
  ca_file: {{ $files }}/redis-ca.crt
  {{- end }}
{{- if .Values.scaler.kubeletMetrics }}
scaler:
  kubelet_metrics: true
{{- end }}
{{- end -}}

{{- define "slipway.brokerUrls" -}}
{{- if .Values.rabbitmq.enabled -}}
{{- list (printf "amqp://%s:5672/%%2f" (include "slipway.component" (dict "root" . "component" "rabbitmq"))) | toJson -}}
{{- else -}}
{{- .Values.broker.urls | toJson -}}
{{- end -}}
{{- end -}}

{{- define "slipway.redisUrl" -}}
{{- if .Values.redis.enabled -}}
{{- printf "redis://%s:6379/0" (include "slipway.component" (dict "root" . "component" "redis")) -}}
{{- else -}}
{{- .Values.redis.url -}}
{{- end -}}
{{- end -}}

{{/*
slipway.toml. Unless `config` says otherwise, logs are JSON, and where there is a Kubernetes target a Docker engine is
none: it may still build.
*/}}
{{- define "slipway.toml" -}}
{{- include "slipway.check" . -}}
{{- $defaults := dict "log" (dict "format" "json") -}}
{{- if .Values.targets.kubernetes }}{{ $_ := set $defaults "docker" (dict "enabled" false) }}{{ end -}}
{{- $own := include "slipway.ownSettings" . | fromYaml -}}
{{- $settings := merge $own (deepCopy .Values.config) $defaults -}}
{{- with .Values.targets.kubernetes }}{{ $_ := set $settings "kubernetes" . }}{{ end -}}
{{- include "slipway.toml.table" (dict "table" $settings "path" "") | trim -}}
{{- end -}}

{{/* Whether a target is this cluster: then, and only then, worker and scaler get rights and a token. */}}
{{- define "slipway.inCluster" -}}
{{- range .Values.targets.kubernetes }}{{ if .in_cluster }}true{{ end }}{{ end -}}
{{- end -}}

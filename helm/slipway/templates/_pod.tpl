{{/* What the pods of api, worker and scaler have in common. Helpers take a dict of `root` and `component`. */}}

{{/* Restricted Pod Security Standard, for the pod. */}}
{{- define "slipway.podSecurity" -}}
runAsNonRoot: true
{{- range $key, $value := . }}
{{- if not (kindIs "invalid" $value) }}
{{ $key }}: {{ int64 $value }}
{{- end }}
{{- end }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* Restricted Pod Security Standard, for each container. */}}
{{- define "slipway.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
privileged: false
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Metadata of the pods. A new configuration is a new pod, since it is read at the start only. */}}
{{- define "slipway.podMetadata" -}}
{{- $values := get .root.Values .component -}}
annotations:
  checksum/config: {{ include "slipway.toml" .root | sha256sum }}
  {{- with $values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
labels:
  {{- include "slipway.labels" . | nindent 2 }}
  {{- with $values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* Where the pods run: spread over nodes and zones as far as possible, each version by itself. */}}
{{- define "slipway.scheduling" -}}
{{- $values := get .root.Values .component -}}
topologySpreadConstraints:
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    matchLabelKeys: [pod-template-hash]
    labelSelector:
      matchLabels:
        {{- include "slipway.selectorLabels" $ | nindent 8 }}
  {{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "slipway.pullSecrets" -}}
{{- with .Values.image.pullSecrets -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Image, command and environment of the container. */}}
{{- define "slipway.program" -}}
{{- $values := get .root.Values .component -}}
name: {{ .component }}
image: {{ include "slipway.image" (dict "image" .root.Values.image "tag" .root.Chart.AppVersion) }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
command: [slipway-{{ .component }}, --config, /etc/slipway/config/slipway.toml]
{{- with $values.extraEnv }}
env:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- include "slipway.containerSecurity" . | nindent 2 }}
resources:
  {{- toYaml $values.resources | nindent 2 }}
volumeMounts:
  - { name: config, mountPath: /etc/slipway/config, readOnly: true }
  - { name: secrets, mountPath: {{ include "slipway.secretFolder" . }}, readOnly: true }
  - { name: data, mountPath: /var/lib/slipway }
  - { name: tmp, mountPath: /tmp }
  {{- with $values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* Volumes besides `data`. */}}
{{- define "slipway.volumes" -}}
{{- $values := get .root.Values .component -}}
- name: config
  configMap:
    name: {{ include "slipway.fullname" .root }}-config
- name: secrets
  projected:
    # 0440: for the group of the pod alone.
    defaultMode: 288
    sources:
      {{- include "slipway.secretSources" . | nindent 6 }}
- name: tmp
  emptyDir: { sizeLimit: 64Mi }
{{- with $values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Each program gets the secrets it uses, and no other. */}}
{{- define "slipway.secretSources" -}}
{{- $values := .root.Values -}}
{{- $broker := dict "name" $values.broker.passwordSecret.name "key" $values.broker.passwordSecret.key "path" "broker-password" -}}
{{- if $values.rabbitmq.enabled -}}
{{- $broker = dict "name" (include "slipway.component" (dict "root" .root "component" "rabbitmq")) "key" "password" "path" "broker-password" -}}
{{- end -}}
{{- $redis := dict "name" $values.redis.passwordSecret.name "key" $values.redis.passwordSecret.key "path" "redis-password" -}}
{{- if $values.redis.enabled -}}
{{- $redis = dict "name" (include "slipway.component" (dict "root" .root "component" "redis")) "key" "password" "path" "redis-password" -}}
{{- end -}}
{{- include "slipway.secretSource" $broker }}
{{ include "slipway.secretSource" $redis }}
{{- if ne .component "scaler" }}
{{ include "slipway.secretSource" (dict "name" (include "slipway.sealingKeySecret" .root) "key" $values.sealingKey.key "path" "sealing-key") }}
{{- end }}
{{- if eq .component "api" }}
{{ include "slipway.secretSource" (dict "name" (include "slipway.firstTokenSecret" .root) "key" $values.firstToken.key "path" "first-token") }}
{{- end }}
{{- with $values.broker.caSecret }}
{{- if .name }}
{{ include "slipway.secretSource" (dict "name" .name "key" .key "path" "broker-ca.crt") }}
{{- end }}
{{- end }}
{{- with $values.redis.caSecret }}
{{- if .name }}
{{ include "slipway.secretSource" (dict "name" .name "key" .key "path" "redis-ca.crt") }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "slipway.secretSource" -}}
- secret: { name: {{ .name }}, items: [{ key: {{ .key }}, path: {{ .path }} }] }
{{- end -}}

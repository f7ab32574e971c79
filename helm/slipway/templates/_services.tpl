{{/* RabbitMQ and Redis of the release, for trying out. Helpers take a dict of `root`, `component` and `values`. */}}

{{/* Both images run as this user. */}}
{{- define "slipway.services.user" -}}
{{- dict "runAsUser" 999 "runAsGroup" 999 "fsGroup" 999 | toJson -}}
{{- end -}}

{{/* What both StatefulSets have in common, up to the containers. */}}
{{- define "slipway.services.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with include "slipway.pullSecrets" .root }}{{ . | nindent 0 }}{{ end }}
securityContext:
  {{- include "slipway.podSecurity" (include "slipway.services.user" . | fromJson) | nindent 2 }}
{{- end -}}

{{- define "slipway.services.volumes" -}}
- name: scripts
  configMap:
    name: {{ include "slipway.component" . }}
- name: password
  secret:
    secretName: {{ include "slipway.component" . }}
    defaultMode: 288
- name: run
  emptyDir: { medium: Memory, sizeLimit: 1Mi }
- name: tmp
  emptyDir: { sizeLimit: 64Mi }
{{- end -}}

{{/* The data volume. It goes with the release unless it shall be kept. */}}
{{- define "slipway.services.claim" -}}
persistentVolumeClaimRetentionPolicy:
  whenDeleted: {{ ternary "Retain" "Delete" .values.storage.keep }}
  whenScaled: Retain
volumeClaimTemplates:
  - metadata:
      name: data
      labels:
        {{- include "slipway.selectorLabels" . | nindent 8 }}
    spec:
      accessModes: [ReadWriteOnce]
      {{- with .values.storage.className }}
      storageClassName: {{ . }}
      {{- end }}
      resources: { requests: { storage: {{ .values.storage.size }} } }
{{- end -}}

{{/* The Service, and the governing Service of the StatefulSet in one. Takes `port` and `portName` besides. */}}
{{- define "slipway.services.service" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "slipway.component" . }}
  labels:
    {{- include "slipway.labels" . | nindent 4 }}
spec:
  selector:
    {{- include "slipway.selectorLabels" . | nindent 4 }}
  ports:
    - { name: {{ .portName }}, port: {{ .port }}, targetPort: {{ .portName }}, protocol: TCP }
{{- end -}}

{{/* How worker and scaler say how they are. */}}

{{/* Alive from the start, whatever is away; ready once it can do its work. */}}
{{- define "slipway.healthProbes" -}}
ports:
  - { name: health, containerPort: 8641, protocol: TCP }
livenessProbe:
  httpGet: { path: /livez, port: health }
  initialDelaySeconds: 5
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  httpGet: { path: /readyz, port: health }
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: 2
{{- end -}}

{{/* For metrics only: nobody sends requests to it, so pods that are not ready are found, too. */}}
{{- define "slipway.healthService" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "slipway.component" . }}
  labels:
    {{- include "slipway.labels" . | nindent 4 }}
spec:
  clusterIP: None
  publishNotReadyAddresses: true
  selector:
    {{- include "slipway.selectorLabels" . | nindent 4 }}
  ports:
    - { name: health, port: 8641, targetPort: health, protocol: TCP }
{{- end -}}

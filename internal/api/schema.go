package api

import "github.com/danielgtaylor/huma/v2"

// Schema of a document as it stands: any JSON.
func (RawJSON) Schema(huma.Registry) *huma.Schema { return &huma.Schema{} }
